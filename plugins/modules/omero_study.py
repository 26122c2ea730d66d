#!/usr/bin/python
"""Projects with datasets, screens, and key-value pairs in OMERO."""

DOCUMENTATION = r"""
module: omero_study
short_description: Put projects, datasets, screens and key-value pairs into OMERO
description:
  - Makes what is missing and corrects what differs - descriptions, and the pairs of an annotation. A project or screen
    is known by its name, a dataset by its name in the project, a plate by its name in the screen, a well by its place,
    an annotation by its namespace on any of them.
  - Images and plates are imported by role C(study). Those that are there get their pairs here.
  - Takes nothing away. What an interrupted run left unfinished is completed by the next.
  - Needs omero-py in the interpreter that it runs with.
  - I(login_user) owns what is made.
extends_documentation_fragment: [omero_login]
options:
  projects:
    description: The projects, as M(read_study) returns them.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: Name of the project., type: str, required: true}
      description: {description: Its description., type: str, default: ""}
      annotations:
        description: Key-value pairs, one annotation a namespace.
        type: list
        elements: dict
        default: []
        suboptions: &annotation
          namespace: {description: Namespace of the pairs., type: str, required: true}
          pairs: {description: "The pairs, each a list of key and value.", type: list, elements: list, required: true}
      images: {description: How many images the study names. Not used., type: int}
      datasets:
        description: Datasets of the project.
        type: list
        elements: dict
        default: []
        suboptions:
          name: {description: Name of the dataset., type: str, required: true}
          description: {description: Its description., type: str, default: ""}
          annotations:
            description: Key-value pairs, one annotation a namespace.
            type: list
            elements: dict
            default: []
            suboptions: *annotation
          files: {description: Paths of its files. Not used., type: list, elements: str, default: []}
          images:
            description: Its images, which get their pairs once they are imported.
            type: list
            elements: dict
            default: []
            suboptions:
              name: {description: Name of the image., type: str, required: true}
              annotations:
                description: Key-value pairs, one annotation a namespace.
                type: list
                elements: dict
                default: []
                suboptions: *annotation
  screens:
    description: The screens, as M(read_study) returns them.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name of the screen., type: str, required: true}
      description: {description: Its description., type: str, default: ""}
      annotations:
        description: Key-value pairs, one annotation a namespace.
        type: list
        elements: dict
        default: []
        suboptions: *annotation
      wells: {description: How many wells the study names. Not used., type: int}
      well_to_images: {description: Whether the images of a well get its pairs too., type: bool, default: false}
      plates:
        description: Its plates, whose wells get their pairs once they are imported.
        type: list
        elements: dict
        default: []
        suboptions:
          name: {description: Name of the plate., type: str, required: true}
          file: {description: Path of its file. Not used., type: str}
          wells:
            description: Its wells.
            type: list
            elements: dict
            default: []
            suboptions:
              name: {description: "Name of the well, such as A1.", type: str, required: true}
              row: {description: "Its row, from 0.", type: int, required: true}
              column: {description: "Its column, from 0.", type: int, required: true}
              annotations:
                description: Key-value pairs, one annotation a namespace.
                type: list
                elements: dict
                default: []
                suboptions: *annotation
  group: {description: Group that the data belong to., type: str, required: true}
"""

RETURN = r"""
created: {description: "How many of each kind were made.", type: dict, returned: success,
  sample: {projects: 1, datasets: 10, screens: 0, annotations: 58}}
updated: {description: "How many of each kind were corrected.", type: dict, returned: success}
unchanged: {description: "How many of each kind were right before.", type: dict, returned: success}
projects:
  description: Ids by name; null for what check mode did not make.
  type: list
  elements: dict
  returned: success
  sample: [{name: idr0021-lawo-pericentriolarmaterial/experimentA, id: 1, datasets: {CENT2: 2}}]
screens:
  description: Ids by name, of those plates that are there; null for what check mode did not make.
  type: list
  elements: dict
  returned: success
  sample: [{name: idr0056-stojic-lncrnas/screenA, id: 1, plates: {"1921": 3}}]
missing:
  description: The wanted images that are not in their datasets, and plates and wells that are not in their screens.
  type: list
  elements: str
  returned: success
changed_at:
  description: When the data were changed last, in seconds since 1970; null in check mode and when unknown.
  type: float
  returned: success
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.omero_session import ARGUMENTS, session

KINDS = ("projects", "datasets", "screens", "annotations")
FIND_BY_NAME = "select o from KIND o where o.details.group.id = :group and o.name in (:names) order by o.id"
FIND_DATASETS = "select l from ProjectDatasetLink l join fetch l.child d where l.parent.id in (:ids) order by l.id"
FIND_IMAGES = "select l from DatasetImageLink l join fetch l.child i where l.parent.id in (:ids) order by l.id"
FIND_PLATES = "select l from ScreenPlateLink l join fetch l.child p where l.parent.id in (:ids) order by l.id"
FIND_WELLS = "select w from Well w where w.plate.id in (:ids) order by w.id"
FIND_FIELDS = "select s from WellSample s join fetch s.image i where s.well.id in (:ids) order by s.id"
FIND_ANNOTATIONS = (
    "select l from KINDAnnotationLink l join fetch l.child a"
    " where l.parent.id in (:ids) and a.ns in (:namespaces) and a.details.owner.id = :user order by l.id"
)
ANNOTATIONS = {
    "type": "list",
    "elements": "dict",
    "default": [],
    "options": {
        "namespace": {"type": "str", "required": True},
        "pairs": {"type": "list", "elements": "list", "required": True},
    },
}
NAMED = {
    "name": {"type": "str", "required": True},
    "description": {"type": "str", "default": ""},
    "annotations": ANNOTATIONS,
}

IMAGE = {"name": {"type": "str", "required": True}, "annotations": ANNOTATIONS}
WELL = {
    "name": {"type": "str", "required": True},
    "row": {"type": "int", "required": True},
    "column": {"type": "int", "required": True},
    "annotations": ANNOTATIONS,
}
PLATE = {
    "name": {"type": "str", "required": True},
    "file": {"type": "str"},
    "wells": {"type": "list", "elements": "dict", "default": [], "options": WELL},
}
# Of so many images or wells at a time the annotations are looked up and saved.
AT_ONCE = 500


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **ARGUMENTS,
            "group": {"type": "str", "required": True},
            "projects": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    **NAMED,
                    "images": {"type": "int"},
                    "datasets": {
                        "type": "list",
                        "elements": "dict",
                        "default": [],
                        "options": {
                            **NAMED,
                            "files": {"type": "list", "elements": "str", "default": []},
                            "images": {"type": "list", "elements": "dict", "default": [], "options": IMAGE},
                        },
                    },
                },
            },
            "screens": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    **NAMED,
                    "wells": {"type": "int"},
                    "well_to_images": {"type": "bool", "default": False},
                    "plates": {"type": "list", "elements": "dict", "default": [], "options": PLATE},
                },
            },
        },
        supports_check_mode=True,
    )
    with session(module) as client:
        module.exit_json(**Import(module, client).run())


class Import:
    """One run of the module: everything is looked up and checked first, then saved, with a call for each kind.

    Args:
        module: AnsibleModule.
        client: omero.client with a session.
    """

    def __init__(self, module, client):
        """Find out who imports, and into which group."""
        import omero

        self.module = module
        self.wanted = module.params["projects"]
        self.screens = module.params["screens"]
        self.query = client.sf.getQueryService()
        self.updates = client.sf.getUpdateService()
        admin = client.sf.getAdminService()
        self.user = admin.getEventContext().userId
        try:
            self.group = admin.lookupGroup(module.params["group"]).id.val
        except omero.ApiUsageException:
            module.fail_json(
                msg=f"OMERO has no group {module.params['group']}. The OMERO layer makes it: apply playbooks/omero.yml."
            )
        self.counts = {word: dict.fromkeys(KINDS, 0) for word in ("created", "updated", "unchanged")}
        self.events = set()
        self.before, self.after = [], []

    def run(self):
        """Put everything in place; returns the module's result."""
        projects = self._find_by_name("Project", self.wanted)
        datasets = self._find_in(FIND_DATASETS, "project", projects)
        screens = self._find_by_name("Screen", self.screens)
        plates = self._find_in(FIND_PLATES, "screen", screens)
        on_projects = self._find_annotations("Project", self.wanted, projects.values())
        on_datasets = self._find_annotations("Dataset", [each for _, each in self._pairs()], datasets.values())
        on_screens = self._find_annotations("Screen", self.screens, screens.values())

        self._save_named("Project", self.wanted, projects)
        self._save_datasets(projects, datasets)
        self._save_named("Screen", self.screens, screens)
        self._save_annotations("Project", [(each, projects[each["name"]]) for each in self.wanted], on_projects)
        self._save_annotations("Dataset", [(each, datasets[key]) for key, each in self._pairs()], on_datasets)
        self._save_annotations("Screen", [(each, screens[each["name"]]) for each in self.screens], on_screens)
        missing = self._annotate_images(datasets) + self._annotate_wells(plates)

        result = {**self.counts, "projects": [], "screens": [], "missing": missing}
        result["changed"] = any(self.counts[word][kind] for word in ("created", "updated") for kind in KINDS)
        result["changed_at"] = self._changed_at(result["changed"])
        for project in self.wanted:
            name = project["name"]
            ids = {each["name"]: id_of(datasets[name, each["name"]]) for each in project["datasets"]}
            result["projects"].append({"name": name, "id": id_of(projects[name]), "datasets": ids})
        for screen in self.screens:
            name = screen["name"]
            ids = {plate: id_of(stored) for (where, plate), stored in plates.items() if where == name}
            result["screens"].append({"name": name, "id": id_of(screens[name]), "plates": ids})
        if result["changed"]:
            result["diff"] = {"before": "".join(self.before), "after": "".join(self.after)}
        return result

    def _pairs(self):
        """Yield ((project's name, dataset's name), dataset as wanted) of every dataset."""
        for project in self.wanted:
            for dataset in project["datasets"]:
                yield (project["name"], dataset["name"]), dataset

    # What is there

    def _find_by_name(self, kind, wanted):
        """Return the wanted (list of dicts) projects or screens (kind: Project or Screen) that exist, by name."""
        names = [each["name"] for each in wanted]
        found = self._find(FIND_BY_NAME.replace("KIND", kind), group=self.group, names=names)
        return self._by_name(found, f"group {self.module.params['group']}")

    def _find_in(self, hql, kind, parents):
        """Return the datasets or plates in parents (dict by name, of a kind, str), by names of parent and child."""
        links = self._find(hql, ids=[id_of(parent) for parent in parents.values()])
        found = {}
        for name, parent in parents.items():
            inside = [link.child for link in links if id_of(link.parent) == id_of(parent)]
            for child, stored in self._by_name(inside, f"{kind} {name}").items():
                found[name, child] = stored
        return found

    def _annotate_images(self, datasets):
        """Put their pairs on the images that are there; returns the names (list of str) of those that are not."""
        missing = []
        for key, dataset in self._pairs():
            wanted = dataset["images"]
            if not wanted:
                continue
            identifier = id_of(datasets[key])
            links = self._find(FIND_IMAGES, ids=[identifier]) if identifier else []
            found = self._by_name([link.child for link in links], f"dataset {dataset['name']}")
            missing += [each["name"] for each in wanted if each["name"] not in found]
            self._annotate("Image", [(each, found[each["name"]]) for each in wanted if each["name"] in found])
        return missing

    def _annotate_wells(self, plates):
        """Put their pairs on the wells that are there; returns which plates and wells (list of str) are not."""
        missing = []
        for screen in self.screens:
            for plate in screen["plates"]:
                stored = plates.get((screen["name"], plate["name"]))
                if stored is None:
                    missing.append(f"plate {plate['name']}")
                    continue
                found = {(each.row.val, each.column.val): each for each in self._find(FIND_WELLS, ids=[id_of(stored)])}
                wanted = [(each, found.get((each["row"], each["column"]))) for each in plate["wells"]]
                missing += [f"well {each['name']} of plate {plate['name']}" for each, well in wanted if well is None]
                there = [({**each, "name": f"{plate['name']} / {each['name']}"}, well) for each, well in wanted if well]
                self._annotate("Well", there)
                if screen["well_to_images"]:
                    item_of = {id_of(well): item for item, well in there}
                    fields = self._find(FIND_FIELDS, ids=list(item_of))
                    self._annotate("Image", [(item_of[id_of(each.well)], each.image) for each in fields])
        return missing

    def _annotate(self, kind, wanted):
        """Put pairs on stored images or wells.

        Args:
            kind: str, Image or Well.
            wanted: list of (dict with name and annotations, omero.model object).
        """
        for start in range(0, len(wanted), AT_ONCE):
            some = wanted[start : start + AT_ONCE]
            found = self._find_annotations(kind, *zip(*some, strict=True))
            self._save_annotations(kind, some, found)

    def _find_annotations(self, kind, items, parents):
        """Return the user's map annotations on objects, by the object's id and namespace.

        Args:
            kind: str, Project, Dataset, Screen, Image or Well.
            items: list of dicts with annotations, as wanted.
            parents: iterable of omero.model objects.
        """
        from omero.model import MapAnnotationI

        links = self._find(
            FIND_ANNOTATIONS.replace("KIND", kind),
            ids=[id_of(parent) for parent in parents],
            namespaces=sorted({each["namespace"] for item in items for each in item["annotations"]}),
            user=self.user,
        )
        found = {}
        for link in links:
            if not isinstance(link.child, MapAnnotationI):
                continue
            key = id_of(link.parent), link.child.ns.val
            if key in found:
                self.module.fail_json(
                    msg=f"The {kind.lower()} with id {key[0]} has two annotations with the namespace {key[1]} (ids "
                    f"{id_of(found[key])} and {id_of(link.child)}), and a study has one. Remove one; nothing was "
                    "changed."
                )
            found[key] = link.child
        return found

    def _by_name(self, objects, where):
        """Return objects by name; fails when two share one, or when one is another user's."""
        found = {}
        for each in objects:
            kind, name = type(each).__name__[:-1].lower(), each.name.val
            if name in found:
                self.module.fail_json(
                    msg=f"The {where} has two {kind}s named {name} (ids {id_of(found[name])} and {id_of(each)}): "
                    "which one is meant? Rename or remove one; nothing was changed."
                )
            if id_of(each.details.owner) != self.user:
                self.module.fail_json(
                    msg=f"The {kind} {name} (id {id_of(each)}) belongs to another user than "
                    f"{self.module.params['login_user']}. Import as its owner, or rename it; nothing was changed."
                )
            found[name] = each
        return found

    def _find(self, hql, **values):
        """Return the objects that a query selects, and note their events; an empty list of values selects none."""
        from omero.rtypes import rlist, rlong, rstring
        from omero.sys import ParametersI

        if any(value == [] for value in values.values()):
            return []
        wrap = {int: rlong, str: rstring}
        parameters = ParametersI()
        for name, value in values.items():
            wrapped = rlist([wrap[type(each)](each) for each in value]) if isinstance(value, list) else rlong(value)
            parameters.add(name, wrapped)
        found = self.query.findAllByQuery(hql, parameters, self._context())
        for each in found:
            for stored in (each, getattr(each, "child", None)):
                if stored is not None and stored.details.updateEvent:
                    self.events.add(id_of(stored.details.updateEvent))
        return found

    # What is to be

    def _save_named(self, kind, wanted, stored):
        """Make and correct projects or screens (kind: Project or Screen); `stored` (dict) gets those that are new."""
        import omero.model

        label = kind.lower()
        new = {}
        for each in wanted:
            if each["name"] not in stored:
                new[each["name"]] = named(getattr(omero.model, f"{kind}I")(), each)
                self._count("created", f"{label}s", after=f"{label} {each['name']}")
        self._correct(f"{label}s", [(each["name"], each, stored.get(each["name"])) for each in wanted])
        stored.update(zip(new, self._save(new.values()), strict=True))

    def _save_datasets(self, projects, datasets):
        """Make datasets in their projects, and correct them; `datasets` (dict) gets those that are new."""
        from omero.model import DatasetI, ProjectDatasetLinkI

        new = {}
        for key, each in self._pairs():
            if key not in datasets:
                # The link brings its dataset along: no run leaves one without its project.
                new[key] = link_to(ProjectDatasetLinkI(), projects[key[0]], named(DatasetI(), each))
                self._count("created", "datasets", after=f"dataset {' / '.join(key)}")
        self._correct("datasets", [(" / ".join(key), each, datasets.get(key)) for key, each in self._pairs()])
        links = self._save(new.values())
        datasets.update({key: link.child for key, link in zip(new, links, strict=True)})

    def _save_annotations(self, kind, wanted, found):
        """Make and correct annotations.

        Args:
            kind: str, Project, Dataset, Screen, Image or Well.
            wanted: list of (dict with name and annotations, omero.model object).
            found: dict, as from _find_annotations.
        """
        import omero.model
        from omero.rtypes import rstring

        new, changed = [], []
        for item, parent in wanted:
            for each in item["annotations"]:
                pairs = [tuple(pair) for pair in each["pairs"]]
                label = f"{kind.lower()} {item['name']}: {each['namespace']}"
                annotation = found.get((id_of(parent), each["namespace"]))
                if annotation is None:
                    annotation = omero.model.MapAnnotationI()
                    annotation.setNs(rstring(each["namespace"]))
                    new.append(link_to(getattr(omero.model, f"{kind}AnnotationLinkI")(), parent, annotation))
                    self._count("created", "annotations", after=show(label, pairs))
                elif pairs_of(annotation) == pairs:
                    self._count("unchanged", "annotations")
                    continue
                else:
                    changed.append(annotation)
                    self._count("updated", "annotations", show(label, pairs_of(annotation)), show(label, pairs))
                annotation.setMapValue([omero.model.NamedValue(key, value) for key, value in pairs])
        self._save(changed)
        self._save(new)

    def _correct(self, kind, rows):
        """Correct descriptions.

        Args:
            kind: str, of KINDS.
            rows: list of (label, dict with description, omero.model object or None when it is new).
        """
        from omero.rtypes import rstring

        changed = []
        for label, item, stored in rows:
            if stored is None:
                continue
            description = stored.description.val if stored.description else ""
            if description == item["description"]:
                self._count("unchanged", kind)
                continue
            what = f"{kind[:-1]} {label}"
            self._count("updated", kind, f"{what}: {description}", f"{what}: {item['description']}")
            stored.setDescription(rstring(item["description"]))
            changed.append(stored)
        self._save(changed)

    def _save(self, objects):
        """Save objects in one call and one transaction; returns them as stored, in check mode as given."""
        objects = list(objects)
        if self.module.check_mode or not objects:
            return objects
        return self.updates.saveAndReturnArray(objects, self._context())

    def _context(self):
        return {"omero.group": str(self.group)}

    def _count(self, word, kind, before=None, after=None):
        """Count an object, and note it for the diff."""
        self.counts[word][kind] += 1
        self.before += [f"{before}\n"] if before else []
        self.after += [f"{after}\n"] if after else []

    def _changed_at(self, changed):
        """Return when the data were changed last: now, or at the latest event of what was found."""
        from omero.sys import ParametersI

        if self.module.check_mode or not (changed or self.events):
            return None
        if changed:
            return time.time()
        parameters = ParametersI().addId(max(self.events))
        rows = self.query.projection("select e.time from Event e where e.id = :id", parameters, self._context())
        return rows[0][0].val / 1000 if rows else None


def named(made, item):
    """Return a new project, dataset or screen with the name and description of `item` (dict)."""
    from omero.rtypes import rstring

    made.setName(rstring(item["name"]))
    made.setDescription(rstring(item["description"]))
    return made


def link_to(link, parent, child):
    """Return a new link of a stored parent (in check mode a new one) and a new child."""
    link.setParent(type(parent)(parent.id, False) if parent.id else parent)
    link.setChild(child)
    return link


def id_of(stored):
    """Return the id of an omero.model object, None when it has none yet."""
    return stored.id.val if stored.id else None


def pairs_of(annotation):
    """Return the pairs of a map annotation as a list of (key, value)."""
    return [(pair.name, pair.value) for pair in annotation.getMapValue() or []]


def show(label, pairs):
    """Return pairs as lines of a diff."""
    return "\n".join([label, *(f"  {key}: {value}" for key, value in pairs)])


if __name__ == "__main__":
    main()
