"""IContainer: projects and datasets with what is in them."""

# The texts are HQL, of names that schema.py knows; a client's values are parameters.
# ruff: noqa: S608

from ..errors import Unsupported
from ..queries import load, run
from ..schema import entity

# What to load with a container: its links and their other end, one level down.
_CHILDREN = {
    "Project": "datasetLinks",
    "Dataset": "imageLinks",
    "Screen": "plateLinks",
    "Image": "pixels",
}


class Container:
    """Answers with whole objects."""

    def loadContainerHierarchy(self, call, type_name, identifiers, options):
        """Return containers with their links and the children of these."""
        kept = entity(type_name)
        if kept.name not in ("Project", "Dataset", "Screen") or not identifiers:
            raise Unsupported(f"IContainer.loadContainerHierarchy of {type_name} {list(identifiers)}")
        fetch = (
            "left outer join fetch o.details.owner left outer join fetch o.details.creationEvent"
            f" left outer join fetch o.{_CHILDREN[kept.name]} l left outer join fetch l.child"
        )
        return load(call, kept, identifiers, fetch, context=call.context)

    def getImages(self, call, type_name, identifiers, options):
        """Return images with their pixels, by their own ids or by those of their datasets."""
        kept = entity(type_name)
        fetch = "left outer join fetch o.details.owner left outer join fetch o.pixels p"
        fetch += " left outer join fetch p.pixelsType"
        if kept.name == "Image":
            return load(call, kept, identifiers, fetch, context=call.context)
        raise Unsupported(f"IContainer.getImages of {type_name}")

    def getCollectionCount(self, call, type_name, property_name, identifiers, options):
        """Return how many elements a collection has, one number an id."""
        kept = entity(type_name)
        short = property_name.rpartition(".")[2].rpartition("_")[2]
        if short not in kept.collections:
            raise Unsupported(f"IContainer.getCollectionCount of {type_name}.{property_name}")
        counts = dict.fromkeys(identifiers, 0)
        text = f"select o.id, count(c.id) from {kept.name} o join o.{short} c where o.id in (:ids) group by o.id"
        for identifier, count in run(call, text, {"ids": list(identifiers)}):
            counts[identifier.val] = count.val
        return counts
