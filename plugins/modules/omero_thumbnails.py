#!/usr/bin/python
"""Thumbnails and rendering settings of images that have none."""

DOCUMENTATION = r"""
module: omero_thumbnails
short_description: Have OMERO make the thumbnails of images that have none
description:
  - An image that nobody has looked at may have no rendering settings, and members of a read-only group see nothing of
    it until its owner has looked. Such are images of large planes, of which OMERO makes a pyramid after the import.
  - Asks for the thumbnails of the images in datasets and screens whose owner has no rendering settings of them, as
    I(login_user), who has to be that owner. Images that have settings got a thumbnail when they were imported.
  - Asks again for those that wait for a pyramid, as long as I(timeout) says, each time after what the server says
    (C(ConcurrencyException.backOff)).
  - Needs omero-py in the interpreter that it runs with.
extends_documentation_fragment: [omero_login]
options:
  datasets: {description: Ids of datasets., type: list, elements: int, default: []}
  screens: {description: Ids of screens., type: list, elements: int, default: []}
  timeout: {description: "For how many seconds it asks, once at least.", type: int, default: 0}
"""

RETURN = r"""
images: {description: How many images there are., type: int, returned: success}
made:
  description: Ids of those that have rendering settings now, and had none.
  type: list
  elements: int
  returned: success
waiting:
  description: Those that wait for a pyramid still, with their ids and names.
  type: list
  elements: str
  returned: success
  sample: ["3200x3200.fake (image 7)"]
refused:
  description: Those that have no thumbnail, each with the server's words.
  type: list
  elements: str
  returned: success
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.omero_session import ARGUMENTS, session

# One page of images after another, by their ids.
IN_DATASETS = (
    "select i.id, i.name, i.details.group.id, p.id from DatasetImageLink l join l.child i join i.pixels p"
    " where l.parent.id in (:ids) and i.id > :last order by i.id"
)
IN_PLATES = (
    "select i.id, i.name, i.details.group.id, p.id from WellSample s join s.image i join i.pixels p join s.well w"
    " where w.plate.id in (:ids) and i.id > :last order by i.id"
)
FIND_PLATES = "select l.child.id from ScreenPlateLink l where l.parent.id in (:ids)"
WITH_SETTINGS = (
    "select p.id from RenderingDef r join r.pixels p where p.id in (:ids) and r.details.owner.id = p.details.owner.id"
)
ALL_GROUPS = {"omero.group": "-1"}
PAGE = 1000
# Thumbnails that are asked for in one call.
AT_ONCE = 50
# Pixels of their longest side.
SIZE = 96
# Seconds between two rounds, whatever the server says.
LEAST_PAUSE = 1
LONGEST_PAUSE = 30


def main():
    """Run the module."""
    ids = {"type": "list", "elements": "int", "default": []}
    module = AnsibleModule(
        argument_spec={**ARGUMENTS, "datasets": ids, "screens": ids, "timeout": {"type": "int", "default": 0}},
        supports_check_mode=True,
    )
    with session(module) as client:
        module.exit_json(**Thumbnails(client).run(module.params, module.check_mode))


class Thumbnails:
    """One run of the module.

    Args:
        client: omero.client with a session.
        clock: module with monotonic and sleep, as time has them.
    """

    def __init__(self, client, clock=time):
        """Take the services."""
        self.session = client.sf
        self.query = client.sf.getQueryService()
        self.clock = clock

    def run(self, wanted, check_mode=False):
        """Ask for what is missing; returns the module's result.

        Args:
            wanted: dict, the module's arguments.
            check_mode: bool, whether to look alone.
        """
        end = self.clock.monotonic() + wanted["timeout"]
        images, without = self.find(wanted)
        if check_mode:
            return {"changed": bool(without), "images": images, "made": [], "waiting": names(without), "refused": []}
        left, refused = dict(without), {}
        for group in {group for *_, group in without.values()}:
            of_group = [pixels for pixels, (*_, other) in without.items() if other == group]
            for start in range(0, len(of_group), AT_ONCE):
                some = of_group[start : start + AT_ONCE]
                self.ask_together(some, group)
                for each in self.with_settings(some):
                    del left[each]
        while left:
            pauses = {pixels: self.ask(pixels, group) for pixels, (*_, group) in left.items()}
            refused |= {each: f"{text_of(left[each])}: {why}" for each, why in pauses.items() if isinstance(why, str)}
            left = {each: left[each] for each, pause in pauses.items() if isinstance(pause, float)}
            pause = min(LONGEST_PAUSE, max(LEAST_PAUSE, min((pauses[each] for each in left), default=0)))
            if not left or self.clock.monotonic() + pause > end:
                break
            self.clock.sleep(pause)
        made = sorted(without[each][0] for each in without.keys() - left.keys() - refused.keys())
        return {
            "changed": bool(made),
            "images": images,
            "made": made,
            "waiting": names(left),
            "refused": sorted(refused.values()),
        }

    def find(self, wanted):
        """Return how many images there are, and those without settings.

        Those are a dict from their pixels' ids to (id, name, id of the group).
        """
        plates = [plate for (plate,) in self.rows(FIND_PLATES, wanted["screens"])]
        images, without = set(), {}
        for hql, ids in ((IN_DATASETS, wanted["datasets"]), (IN_PLATES, plates)):
            last = 0
            while page := self.rows(hql, ids, last):
                images |= {image for image, *_ in page}
                there = self.with_settings([pixels for *_, pixels in page])
                without |= {pixels: tuple(image) for *image, pixels in page if pixels not in there}
                last = page[-1][0]
        return len(images), without

    def rows(self, hql, ids, last=None):
        """Return rows of a query for ids (list of int): a page of those after the id `last` (int), or all for None."""
        from omero.rtypes import unwrap
        from omero.sys import ParametersI

        if not ids:
            return []
        parameters = ParametersI().addIds(ids)
        if last is not None:
            parameters.addLong("last", last).page(0, PAGE)
        return unwrap(self.query.projection(hql, parameters, ALL_GROUPS))

    def with_settings(self, pixels):
        """Return which of some pixels (list of int) have rendering settings of their owner, a set of int."""
        from omero.rtypes import unwrap
        from omero.sys import ParametersI

        found = self.query.projection(WITH_SETTINGS, ParametersI().addIds(pixels), ALL_GROUPS)
        return {row[0] for row in unwrap(found)}

    def ask_together(self, pixels, group):
        """Ask for the thumbnails of several pixels (list of int) of a group (int).

        OMERO makes the settings of those that it can, and says of none why it cannot.
        """
        import omero
        from omero.rtypes import rint

        store = self.session.createThumbnailStore()
        try:
            store.getThumbnailByLongestSideSet(rint(SIZE), pixels, {"omero.group": str(group)})
        except omero.ServerError:  # of one of them; each is asked for by itself later, which says whose
            return
        finally:
            store.close()

    def ask(self, pixels, group):
        """Ask for the settings of one image, by its pixels' id, in its group (int).

        Returns:
            None when they are there, a float, the seconds after which to ask again, or a str, the server's words.
        """
        import omero

        context = {"omero.group": str(group)}
        engine = self.session.createRenderingEngine()
        try:
            engine.lookupPixels(pixels, context)
            if not engine.lookupRenderingDef(pixels, context):
                engine.resetDefaultSettings(True, context)
                self.ask_together([pixels], group)
        except omero.ConcurrencyException as waits:
            return waits.backOff / 1000
        except omero.ServerError as problem:
            return problem.message or type(problem).__name__
        finally:
            engine.close()
        return None


def text_of(image):
    """Return how to name an image, a tuple that begins with its id and its name."""
    return f"{image[1]} (image {image[0]})"


def names(images):
    """Return how to name images (dict as from Thumbnails.find), in the order of their ids."""
    return [text_of(each) for each in sorted(images.values())]


if __name__ == "__main__":
    main()
