"""A plate as an OME-TIFF, and TIFFs with a companion file, made for tests: no real ones are small and free."""

import xml.etree.ElementTree as etree

import numpy
import tifffile

NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
ROWS, COLUMNS, FIELDS = 2, 3, 2
# Well B3 has no image: the last place of the plate stays empty.
WELLS = [(row, column) for row in range(ROWS) for column in range(COLUMNS) if (row, column) != (1, 2)]
# When the run began and ended, and each field was taken: a time without a zone is UTC.
BEGIN, TAKEN, END = "2026-01-31T12:00:00", "2026-01-31T12:20:00", "2026-01-31T13:30:00+01:00"


def numbers(well, field):
    """Return the numbers of a field of a well, by the wells' places in WELLS: two channels of 24 x 32, each another."""
    return numpy.arange(2 * 24 * 32, dtype="uint16").reshape(2, 24, 32) + 100 * (FIELDS * well + field)


def write_companion(path, names):
    """Write OME-XML beside TIFFs that have the numbers of an image each: those of the first field of the first wells.

    Args:
        path: Path, of a .companion.ome.
        names: list of str, of the TIFFs.
    """
    root = etree.Element(f"{{{NAMESPACE}}}OME")
    for number, name in enumerate(names):
        tifffile.imwrite(path.with_name(name), numbers(number, 0), photometric="minisblack", metadata=None)
        image = etree.SubElement(root, f"{{{NAMESPACE}}}Image", {"ID": f"Image:{number}", "Name": f"image {number}"})
        sizes = {"SizeX": "32", "SizeY": "24", "SizeC": "2", "SizeZ": "1", "SizeT": "1"}
        attributes = {"ID": f"Pixels:{number}", "DimensionOrder": "XYCZT", "Type": "uint16"} | sizes
        pixels = etree.SubElement(image, f"{{{NAMESPACE}}}Pixels", attributes)
        for channel, label in enumerate(("DNA", "Actin")):
            identity = {"ID": f"Channel:{number}:{channel}", "Name": label}
            etree.SubElement(pixels, f"{{{NAMESPACE}}}Channel", identity)
        for channel in range(2):
            place = {"FirstC": str(channel), "IFD": str(channel), "PlaneCount": "1"}
            data = etree.SubElement(pixels, f"{{{NAMESPACE}}}TiffData", place)
            uuid = etree.SubElement(data, f"{{{NAMESPACE}}}UUID", {"FileName": name})
            uuid.text = f"urn:uuid:00000000-0000-0000-0000-00000000000{number}"
    path.write_bytes(etree.tostring(root))


def write_plate(path, change=None):
    """Write a plate of five wells with two fields each, and a sixth well without image.

    Args:
        path: str or Path, of an .ome.tif.
        change: function that takes the OME-XML (xml.etree.ElementTree.Element) and alters it, or None.
    """
    with tifffile.TiffWriter(path, ome=True) as file:
        for well in range(len(WELLS)):
            for field in range(FIELDS):
                metadata = {"axes": "CYX", "Name": f"well {well} field {field}", "Channel": {"Name": ["DNA", "Actin"]}}
                file.write(numbers(well, field), photometric="minisblack", metadata=metadata)
    etree.register_namespace("", NAMESPACE)
    root = etree.fromstring(tifffile.tiffcomment(path))  # noqa: S314 (our own)
    images = [each.get("ID") for each in root.findall("{*}Image")]
    plate = etree.Element(f"{{{NAMESPACE}}}Plate", {"ID": "Plate:0", "Name": "Plate 1", "Rows": "2", "Columns": "3"})
    plate.attrib |= {"RowNamingConvention": "letter", "ColumnNamingConvention": "number"}
    etree.SubElement(plate, f"{{{NAMESPACE}}}Description").text = "Five wells of six"
    for number, (row, column) in enumerate([*WELLS, (1, 2)]):
        place = {"ID": f"Well:0:{number}", "Row": str(row), "Column": str(column), "Type": f"type {number}"}
        well = etree.SubElement(plate, f"{{{NAMESPACE}}}Well", place)
        for field in range(FIELDS if number < len(WELLS) else 0):
            index = FIELDS * number + field
            identity = {"ID": f"WellSample:0:{number}:{field}", "Index": str(index), "Timepoint": TAKEN}
            sample = etree.SubElement(well, f"{{{NAMESPACE}}}WellSample", identity)
            etree.SubElement(sample, f"{{{NAMESPACE}}}ImageRef", {"ID": images[index]})
    run = {"ID": "PlateAcquisition:0:0", "Name": "Run 1", "MaximumFieldCount": str(FIELDS)}
    run |= {"StartTime": BEGIN, "EndTime": END}
    run = etree.SubElement(plate, f"{{{NAMESPACE}}}PlateAcquisition", run)
    for sample in plate.findall("{*}Well/{*}WellSample"):
        etree.SubElement(run, f"{{{NAMESPACE}}}WellSampleRef", {"ID": sample.get("ID")})
    root.insert(0, plate)
    if change:
        change(root)
    tifffile.tiffcomment(path, etree.tostring(root))
