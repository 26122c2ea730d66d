"""ServiceFactory: a session as the client sees it; it hands out the services."""

import omero

from .calls import DONE
from .commands import submit
from .errors import ApiUsage, Forbidden, Unsupported
from .model import from_rtype
from .permissions import ALL_GROUPS, SYSTEM_GROUP, check_group
from .queries import load
from .schema import entity
from .services.jobs import JobHandle
from .services.raw_file import RawFileStore
from .services.raw_pixels import RawPixelsStore
from .services.rendering import RenderingEngine
from .services.thumbnails import ThumbnailStore
from .sessions import context_of
from .stateful import create

# Each get*Service of omero.api.ServiceFactory and its service.
GETTERS = {
    "getAdminService": "IAdmin",
    "getConfigService": "IConfig",
    "getContainerService": "IContainer",
    "getLdapService": "ILdap",
    "getMetadataService": "IMetadata",
    "getPixelsService": "IPixels",
    "getProjectionService": "IProjection",
    "getQueryService": "IQuery",
    "getRenderingSettingsService": "IRenderingSettings",
    "getRepositoryInfoService": "IRepositoryInfo",
    "getRoiService": "IRoi",
    "getScriptService": "IScript",
    "getSessionService": "ISession",
    "getShareService": "IShare",
    "getTimelineService": "ITimeline",
    "getTypesService": "ITypes",
    "getUpdateService": "IUpdate",
}


class Factory:
    """Answers for the session that the called object's identity names."""

    def __getattr__(self, operation):
        """Return the method of a get*Service: services without a class are handed out too, and refuse each call."""
        if operation not in GETTERS:
            raise AttributeError(operation)
        return lambda call: self._proxy(call, GETTERS[operation])

    def _proxy(self, call, name):
        proxy = call.blitz.proxy(name, call.session.uuid)
        return getattr(omero.api, f"{name}Prx").uncheckedCast(proxy)

    def createRenderingEngine(self, call):
        """Return a service that makes pictures of an image."""
        return create(call, RenderingEngine())

    def createThumbnailStore(self, call):
        """Return a service that makes small pictures."""
        return create(call, ThumbnailStore())

    def createRawPixelsStore(self, call):
        """Return a service that gives an image's numbers."""
        return create(call, RawPixelsStore())

    def createRawFileStore(self, call):
        """Return a service that reads and writes a file."""
        return create(call, RawFileStore())

    def createJobHandle(self, call):
        """Return a service that tells of a script's job."""
        return create(call, JobHandle())

    def sharedResources(self, call):
        """Return the service that knows the repositories, tables and processors."""
        return omero.grid.SharedResourcesPrx.uncheckedCast(call.blitz.proxy("SharedResources", call.session.uuid))

    def getByName(self, call, name):
        """Return a service by the name of its interface."""
        short = name.rpartition(".")[2]
        if short not in GETTERS.values():
            raise Unsupported(f"the service {name}")
        return omero.api.ServiceInterfacePrx.uncheckedCast(call.blitz.proxy(short, call.session.uuid))

    def activeServices(self, call):
        """Return the names of the stateful services: none."""
        return []

    def keepAlive(self, call, service):
        """Count the session as used, which finding it did."""
        return True

    def keepAllAlive(self, call, services):
        """Count the session as used; no service is dead."""
        return 0

    def getSecurityContexts(self, call):
        """Return the groups that the session can work in."""
        context = call.context_for_all()
        wanted = context.group_permissions if SYSTEM_GROUP in context.memberships else context.memberships
        return load(call, entity("ExperimenterGroup"), sorted(wanted))

    def setSecurityContext(self, call, given):
        """Let the session work in another group; return the former one."""
        if not isinstance(given, omero.model.ExperimenterGroup):
            raise Unsupported(f"{type(given).__name__} as security context")
        group_id = from_rtype(given.id)
        context = context_of(call.connection, call.session, group_id)
        if group_id == ALL_GROUPS:
            raise ApiUsage("a session works in one group")
        check_group(context)
        former, call.session.group_id = call.session.group_id, group_id
        return omero.model.ExperimenterGroupI(former, False)

    def setSecurityPassword(self, call, password):
        """Check the caller's password, as some changes want it."""
        if not call.blitz.sessions.admits(call.session.user_name, password):
            raise Forbidden("Bad password")
        return DONE

    def setCallback(self, call, callback):
        """Accept the client's callback, which is never needed."""
        return DONE

    def submit(self, call, request):
        """Run a request of omero.cmd."""
        return submit(call, request)

    def detachOnDestroy(self, call):
        """Let the session outlive its last client."""
        call.session.detached = True
        return DONE

    def closeOnDestroy(self, call):
        """Let the session end with its last client."""
        call.session.detached = False
        return DONE

    def destroy(self, call):
        """Take this client from the session."""
        call.blitz.sessions.release(call.session.uuid, close=not call.session.detached)
        return DONE
