"""JobHandle: the job of a script, and what becomes of it."""

from .. import jobs
from ..calls import DONE
from ..model import from_rtype
from ..stateful import Stateful, wanted


class JobHandle(Stateful):
    """One job, that was submitted here or is attached."""

    name = "JobHandle"

    def __init__(self):
        """Begin without a job."""
        super().__init__()
        self.job_id = None

    def submit(self, call, job):
        """Note a new job; return its id."""
        status = from_rtype(job.status._value) if job.status is not None and job.status.isLoaded() else None
        if status not in (None, jobs.SUBMITTED, jobs.WAITING):
            raise jobs.ApiUsage("Currently only SUBMITTED and WAITING are accepted as JobStatus")
        self.job_id = jobs.submit(call, job, status or jobs.SUBMITTED)
        return self.job_id

    def attach(self, call, job_id):
        """Take a job; return its status."""
        found = jobs.job(call, job_id)
        self.job_id = job_id
        return found.status

    def getJob(self, call):
        """Return the job."""
        return jobs.job(call, wanted(self.job_id, "submit or attach"))

    def jobStatus(self, call):
        """Return its status."""
        return self.getJob(call).status

    def jobFinished(self, call):
        """Return when it ended, null as long as it has not."""
        return self.getJob(call).finished

    def jobMessage(self, call):
        """Return its message."""
        return from_rtype(self.getJob(call).message)

    def _is(self, call, status):
        return from_rtype(self.jobStatus(call)._value) == status

    def jobRunning(self, call):
        """Tell whether it runs."""
        return self._is(call, jobs.RUNNING)

    def jobError(self, call):
        """Tell whether it failed."""
        return self._is(call, jobs.ERROR)

    def cancelJob(self, call):
        """Note that it is cancelled."""
        self.setStatus(call, "Cancelled")
        return DONE

    def setStatus(self, call, status):
        """Set its status; return the former one."""
        return jobs.change(call, wanted(self.job_id, "submit or attach"), status, None)

    def setMessage(self, call, message):
        """Set its message; return the former one."""
        return jobs.change(call, wanted(self.job_id, "submit or attach"), None, message)

    def setStatusAndMessage(self, call, status, message):
        """Set both; return the former status."""
        return jobs.change(call, wanted(self.job_id, "submit or attach"), status, from_rtype(message))
