"""The other processes of the server, as IceGrid and IceStorm know them."""

import logging

import Ice
import IceGrid
import IceStorm

log = logging.getLogger(__name__)

_MILLISECONDS = 5000
# How often a subscriber is offered to a topic manager that gives an odd answer.
_ATTEMPTS = 5


class Grid:
    """Finds the other processes' objects, and lets them find this one's.

    Args:
        communicator: Ice.Communicator, which IceGrid started.
    """

    def __init__(self, communicator):
        """Begin without a connection."""
        self.communicator = communicator

    def objects(self, kind):
        """Return the objects (list of Ice.ObjectPrx) of a type (str, such as `::omero::grid::Tables`)."""
        query = IceGrid.QueryPrx.uncheckedCast(self.communicator.stringToProxy("IceGrid/Query"))
        try:
            found = query.findAllObjectsByType(kind)
        except Ice.LocalException as error:
            log.warning("Could not query %s: %s", kind, error)
            return []
        return [each.ice_invocationTimeout(_MILLISECONDS) for each in found]

    def register(self, proxy):
        """Let others find an object by its identity and its type."""
        registry = IceGrid.RegistryPrx.checkedCast(self.communicator.stringToProxy("IceGrid/Registry"))
        session = registry.createAdminSession("null", "")
        try:
            try:
                session.getAdmin().addObject(proxy)
            except IceGrid.ObjectExistsException:
                session.getAdmin().updateObject(proxy)
        finally:
            session.destroy()
        log.info("%s is in the registry", self.communicator.identityToString(proxy.ice_getIdentity()))

    def topic(self, name):
        """Return a topic of IceStorm (IceStorm.TopicPrx), None where no topic manager answers."""
        managers = self.objects("::IceStorm::TopicManager")
        if not managers:
            log.warning("Found no topic manager")
            return None
        if len(managers) > 1:
            log.warning("Found wrong number of topic managers: %d", len(managers))
            return None
        try:
            manager = IceStorm.TopicManagerPrx.checkedCast(managers[0])
            try:
                return manager.create(name)
            except IceStorm.TopicExists:
                return manager.retrieve(name)
        except Ice.LocalException as error:
            log.warning("Could not cast to TopicManager: %s", error)
            return None

    def subscribe(self, name, proxy):
        """Let an object hear what is published about a topic; one that does already may ask again."""
        topic = self.topic(name)
        for _ in range(0 if topic is None else _ATTEMPTS):
            try:
                topic.subscribeAndGetPublisher({}, proxy)
            except IceStorm.AlreadySubscribed:
                pass
            except (Ice.UnknownException, IceStorm.InvalidSubscriber) as error:
                log.warning("%s on subscribeAndGetPublisher", type(error).__name__)
                continue
            break

    def unsubscribe(self, name, proxy):
        """Let an object hear nothing of a topic any longer."""
        topic = self.topic(name)
        if topic is not None:
            topic.unsubscribe(proxy)

    def publisher(self, name):
        """Return the object (Ice.ObjectPrx) whose operations reach all that hear of a topic, None where none does."""
        topic = self.topic(name)
        return None if topic is None else topic.getPublisher().ice_oneway()
