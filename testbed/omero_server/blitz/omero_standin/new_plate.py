"""The rows of a new plate with its wells, as the importer makes them. Nothing here is saved."""

import omero
import omero.rtypes as rtypes


def new_plate(described, images, name, description):
    """Return a plate.

    Args:
        described: ome_xml.Plate.
        images: list of omero.model.ImageI, in the order of the file that describes the plate.
        name: str, for a plate that has none.
        description: str or None, of whoever imports; else the file's.

    Returns:
        omero.model.PlateI with its wells and runs.
    """
    plate = omero.model.PlateI()
    plate.name = rtypes.rstring(name)
    _set_texts(plate, described.texts)
    if description:
        plate.description = rtypes.rstring(description)
    plate.rows, plate.columns = rtypes.rint(described.rows), rtypes.rint(described.columns)
    runs = [_run(each) for each in described.acquisitions]
    for run in runs:
        plate.addPlateAcquisition(run)
    for each in described.wells:
        well = omero.model.WellI()
        well.row, well.column = rtypes.rint(each.row), rtypes.rint(each.column)
        _set_texts(well, each.texts)
        for sample in each.samples:
            well.addWellSample(_sample(sample, images, runs))
        plate.addWell(well)
    return plate


def _set_texts(made, texts):
    for name, value in texts.items():
        setattr(made, name, rtypes.rstring(value))


def _run(described):
    run = omero.model.PlateAcquisitionI()
    _set_texts(run, described.texts)
    run.maximumFieldCount = None if described.fields is None else rtypes.rint(described.fields)
    run.startTime, run.endTime = _time(described.start), _time(described.end)
    return run


def _sample(described, images, runs):
    sample = omero.model.WellSampleI()
    if described.image is not None:
        sample.image = images[described.image]
    if described.acquisition is not None:
        sample.plateAcquisition = runs[described.acquisition]
    sample.timepoint = _time(described.time)
    return sample


def _time(moment):
    return None if moment is None else rtypes.rtime(int(moment.timestamp() * 1000))
