"""IUpdate: saving and deleting."""

from ..calls import DONE
from ..queries import load
from ..schema import entity
from ..store import Store


class Update:
    """Every operation is one transaction: all of it, or nothing."""

    def saveAndReturnObject(self, call, given):
        """Save an object and what it holds; return it as stored, with the objects that came with it."""
        identifier = Store(call).save(given)
        return self._stored(call, given, identifier)

    def saveObject(self, call, given):
        """Save an object and what it holds."""
        Store(call).save(given)
        return DONE

    def saveAndReturnArray(self, call, given):
        """Save several objects and return them as stored."""
        store = Store(call)
        identifiers = [store.save(each) for each in given]
        return [self._stored(call, each, key) for each, key in zip(given, identifiers, strict=True)]

    def saveAndReturnIds(self, call, given):
        """Save several objects and return their ids."""
        store = Store(call)
        return [store.save(each) for each in given]

    def saveArray(self, call, given):
        """Save several objects."""
        self.saveAndReturnIds(call, given)
        return DONE

    def saveCollection(self, call, given):
        """Save several objects."""
        return self.saveArray(call, given)

    def deleteObject(self, call, given):
        """Delete an object that no other refers to."""
        Store(call).delete(given)
        return DONE

    def _stored(self, call, given, identifier):
        kept = entity(type(given).__name__)
        joins = []
        for name, attribute in kept.fields.items():
            held = getattr(given, f"_{name}", None) if attribute.kind == "one" else None
            if held is not None and held.isLoaded():
                joins.append(f"left outer join fetch o.{name}")
        for name in kept.collections:
            if getattr(given, f"_{name}Loaded", False):
                joins.append(f"left outer join fetch o.{name}")
        if kept.owned:
            joins.append("left outer join fetch o.details.creationEvent left outer join fetch o.details.updateEvent")
        return load(call, kept, [identifier], " ".join(joins))[0]
