"""Reading a study folder: what comes out of a good one, and what is said of each kind of bad one."""

import gzip
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from plates import write_plate

from plugins.module_utils.study.files import StudyError
from plugins.module_utils.study.folder import read_study
from plugins.module_utils.study.wells import name_of, place

PROJECT = Path(__file__).resolve().parents[2]
STUDIES = PROJECT.parent / "shared" / "studies"
NAME = "test1-nobody-shapes/experimentA"

TEXT = f"""\
# Made by a test
Comment[IDR Study Accession]\ttest1\t\t
Study Title\tShapes\t\t
Study Type\ttest data
Study Description\tShapes of several kinds.
Study Organism\tnone\tnothing
Study Experiments Number\t1
Study Public Release Date\t2026-01-31
Study Publication Title\tOn shapes\tShapes
Study Author List\tA Nobody\tB Nobody
Study PubMed ID\t\t123
Study DOI\thttps://doi.org/10.1000/shapes\t
Study License\tCC0 1.0
Study License URL\thttps://creativecommons.org/publicdomain/zero/1.0/
Study Data DOI\t10.1000/data
Experiment Number\t1
Comment[IDR Experiment Name]\t{NAME}\t
Experiment Sample Type\tpaper
Experiment Description\tCircles and squares.
Experiment Imaging Method\tdrawing
Experiment Example Images\t# if you have a favourite, list it here
Protocol Description\tTake a pencil;\tdraw
a circle
"""
BULK = """\
---
include: ../bulk.yml
path: test1-experimentA-filePaths.tsv
"""
SHARED_BULK = """\
---
transfer: ln_s
path: overridden.tsv
columns:
  - target
  - path
"""
FILES = """\
Dataset:name:Circles\t/data/circles/1
Dataset:name:Circles\t/data/circles/2
Dataset:name:Squares/big\t/data/squares
"""
ROWS = """\
Dataset Name,Image Name,Colour,Corners,Comment [Gene Identifier],Size,Note
Circles,c1,red,0,ENSG 1,1,
Circles,c2,red,0,ENSG 1,2,
Squares/big,s1,blue; dark,4,,1,"one, two"
"""
MAP = """\
---
name: test1
version: 1
defaults:
  include: no
  omitempty: yes
columns:
  - name: Corners
    include: yes
  - name: Colour
    clientname: Paint
    split: ;
    include: yes
    position: 1
  - name: Size
    include: yes
  - name: Note
    include: yes
    visible: no
  - group:
      namespace: openmicroscopy.org/mapr/gene
      columns:
        - name: Comment [Gene Identifier]
          clientname: Gene Identifier
          include: yes
        - name: Comment [Gene Identifier]
          clientname: Gene Identifier URL
          clientvalue: http://www.ensembl.org/id/{{ value|urlencode }}
          include: yes
advanced:
  ignore_missing_primary_key: yes
  primary_group_keys:
    - namespace: openmicroscopy.org/mapr/gene
      keys: [Gene Identifier]
"""
SCREEN = "test1-nobody-shapes/screenA"
SCREEN_TEXT = f"""\
Screen Number\t2
Comment[IDR Screen Name]\t{SCREEN}\t
Screen Sample Type\tclay
Screen Description\tShapes in wells.
Screen Imaging Method\tphotography
Screen Technology Type\tpress
Screen Type\tprimary screen
Screen Data DOI\t10.1000/screen
"""
SCREEN_BULK = f"""\
---
include: ../bulk.yml
target: Screen:name:{SCREEN}
path: test1-screenA-plates.tsv
columns:
  - name
  - path
"""
PLATES = """\
P1\tplates/one.ome.tif
P2\t/data/plates/two
"""
WELLS = """\
Plate,Well,Shape,Gene
P1,A1,cube,G 1
P1,b02,cube,G 2
P1,b02,ball,G 3
P1,B3,,
P2,AF48,cone,G 4
"""
SCREEN_MAP = """\
---
name: test1
columns:
  - name: Shape
  - group:
      namespace: openmicroscopy.org/mapr/gene
      columns:
        - name: Gene
advanced:
  well_to_images: yes
defaults:
  omitempty: yes
  include: yes
"""


class Folder:
    """A good study in a folder of its own, for tests to spoil.

    Args:
        path: Path.
    """

    def __init__(self, path):
        """Write the files."""
        self.path = path
        (path / "experimentA").mkdir(parents=True)
        self.text = path / "test1-study.txt"
        self.shared_bulk = path / "bulk.yml"
        self.bulk = path / "experimentA" / "test1-experimentA-bulk.yml"
        self.files = path / "experimentA" / "test1-experimentA-filePaths.tsv"
        self.rows = path / "experimentA" / "test1-experimentA-annotation.csv"
        self.map = path / "experimentA" / "test1-experimentA-bulkmap-config.yml"
        self.containers = path / "experimentA" / "test1-experimentA-containers.omero"
        for file, text in (
            (self.text, TEXT),
            (self.shared_bulk, SHARED_BULK),
            (self.bulk, BULK),
            (self.files, FILES),
            (self.rows, ROWS),
            (self.map, MAP),
        ):
            file.write_text(text)

    def change(self, file, old, new):
        """Replace text in a file; it must be there."""
        text = file.read_text()
        assert old in text, f"{old!r} is not in {file.name}"
        file.write_text(text.replace(old, new))

    def read(self):
        """Return the one project of the study."""
        return read_study(self.path)["projects"][0]

    def problems(self):
        """Return what is wrong with the study."""
        with pytest.raises(StudyError) as refusal:
            read_study(self.path)
        return refusal.value.problems


class ScreenFolder(Folder):
    """A good study with an experiment and a screen: one plate in its folder, of 2 x 3 wells, and one elsewhere."""

    def __init__(self, path):
        """Write the files."""
        super().__init__(path)
        within = path / "screenA"
        (within / "plates").mkdir(parents=True)
        self.screen_bulk = within / "test1-screenA-bulk.yml"
        self.plates = within / "test1-screenA-plates.tsv"
        self.wells = within / "test1-screenA-annotation.csv"
        self.screen_map = within / "test1-screenA-bulkmap-config.yml"
        self.plate = within / "plates" / "one.ome.tif"
        for file, text in (
            (self.text, TEXT.rstrip("\n") + "\n" + SCREEN_TEXT),
            (self.screen_bulk, SCREEN_BULK),
            (self.plates, PLATES),
            (self.wells, WELLS),
            (self.screen_map, SCREEN_MAP),
        ):
            file.write_text(text)
        write_plate(self.plate)

    def read(self):
        """Return the one screen of the study."""
        (found,) = read_study(self.path, images=True)["screens"]
        return found

    def problems(self):
        """Return what is wrong with the study."""
        with pytest.raises(StudyError) as refusal:
            read_study(self.path, images=True)
        return refusal.value.problems


@pytest.fixture
def folder(tmp_path):
    """Return a good study."""
    return Folder(tmp_path / "study")


@pytest.fixture
def screen(tmp_path):
    """Return a good study with a screen."""
    return ScreenFolder(tmp_path / "study")


def only(problems):
    """Return the one problem."""
    assert len(problems) == 1, problems
    return problems[0]


# Good studies


def test_project(folder):
    """Name and description are as the IDR writes them."""
    project = folder.read()
    assert project["name"] == NAME
    assert project["description"] == "Publication Title\nOn shapes\n\nExperiment Description\nCircles and squares."
    assert project["images"] == 3


def test_study_pairs(folder):
    """The study's pairs come in the IDR's order; what it does not say is left out."""
    (annotation,) = folder.read()["annotations"]
    assert annotation["namespace"] == "idr.openmicroscopy.org/study/info"
    assert annotation["pairs"] == [
        ["Sample Type", "paper"],
        ["Organism", "none"],
        ["Organism", "nothing"],
        ["Study Type", "test data"],
        ["Imaging Method", "drawing"],
        ["Publication Title", "On shapes"],
        ["Publication Authors", "A Nobody"],
        ["Publication DOI", "10.1000/shapes https://doi.org/10.1000/shapes"],
        ["Publication Title", "Shapes"],
        ["Publication Authors", "B Nobody"],
        ["PubMed ID", "123 https://www.ncbi.nlm.nih.gov/pubmed/123"],
        ["Release Date", "2026-01-31"],
        ["License", "CC0 1.0 https://creativecommons.org/publicdomain/zero/1.0/"],
        ["Data DOI", "10.1000/data https://doi.org/10.1000/data"],
        ["Annotation File", "test1-experimentA-annotation.csv"],
    ]


def test_study_title(folder):
    """The study's title is shown unless a publication has the same."""
    folder.change(folder.text, "Study Title\tShapes", "Study Title\tShapes and more")
    assert ["Study Title", "Shapes and more"] in folder.read()["annotations"][0]["pairs"]


def test_dataset_pairs(folder):
    """A dataset has the pairs that hold for all of its rows, grouped by namespace."""
    circles, squares = folder.read()["datasets"]
    assert circles == {
        "name": "Circles",
        "description": "",
        "annotations": [
            {
                "namespace": "openmicroscopy.org/mapr/gene",
                "pairs": [
                    ["Gene Identifier", "ENSG 1"],
                    ["Gene Identifier URL", "http://www.ensembl.org/id/ENSG%201"],
                ],
            },
            {
                "namespace": "openmicroscopy.org/omero/bulk_annotations",
                "pairs": [["Paint", "red"], ["Corners", "0"]],
            },
        ],
    }
    assert squares["name"] == "Squares/big"
    assert squares["annotations"] == [
        {
            "namespace": "openmicroscopy.org/omero/bulk_annotations",
            "pairs": [
                ["Paint", "blue"],
                ["Paint", "dark"],
                ["Corners", "4"],
                ["Size", "1"],
                ["__Note", "one, two"],
            ],
        }
    ]


def test_empty_values(folder):
    """A column with omitempty off keeps an empty value."""
    folder.change(folder.map, "  - name: Note\n", "  - name: Note\n    omitempty: no\n")
    circles = folder.read()["datasets"][0]
    assert ["__Note", ""] in circles["annotations"][1]["pairs"]


def test_all_columns(folder):
    """With `include` on by default, columns that the configuration does not name are shown too."""
    folder.change(folder.map, "  include: no\n", "  include: yes\n")
    folder.change(folder.map, "  - name: Note\n    include: yes\n    visible: no\n", "")
    squares = folder.read()["datasets"][1]
    assert squares["annotations"][-1]["pairs"][-1] == ["Note", "one, two"]


def test_hidden_from_clients(folder):
    """A column that is not for clients is left out."""
    folder.change(folder.map, "  - name: Size\n", "  - name: Size\n    includeclient: no\n")
    squares = folder.read()["datasets"][1]
    assert "Size" not in dict(squares["annotations"][-1]["pairs"])


def test_containers(folder):
    """containers.omero may name datasets, and describe them."""
    folder.containers.write_text("# datasets\nobj new Dataset name=Circles description='All round'\n\n")
    assert [each["description"] for each in folder.read()["datasets"]] == ["All round", ""]


def test_targets_with_the_project(folder):
    """A target may name the project too."""
    folder.change(folder.files, "Dataset:name:Circles", f"Project:name:{NAME}/Dataset:name:Circles")
    assert [each["name"] for each in folder.read()["datasets"]] == ["Circles", "Squares/big"]


def test_packed_annotations(folder):
    """annotation.csv may be packed."""
    packed = folder.rows.with_name(folder.rows.name + ".gz")
    packed.write_bytes(gzip.compress(folder.rows.read_bytes()))
    folder.rows.unlink()
    assert folder.read()["images"] == 3


def test_byte_order_mark_and_windows_lines(folder):
    """Files as spreadsheets on Windows save them are read as well."""
    for file in (folder.text, folder.rows, folder.files):
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert [each["name"] for each in folder.read()["datasets"]] == ["Circles", "Squares/big"]


def test_demo_study():
    """The demo's study is a good one, and says what it is."""
    study = read_study(PROJECT / "demo" / "study", images=True)
    assert study["elsewhere"] == []
    (project,) = study["projects"]
    (screen,) = study["screens"]
    assert "demo study" in screen["description"]
    assert "demo study" in study["title"]
    assert "demo study" in project["description"]
    assert all(dataset["annotations"] for dataset in project["datasets"])


def test_demo_plate(tmp_path):
    """The demo's plate is what its program writes, and every well of it has its row."""
    program = PROJECT / "demo" / "make_plate.py"
    made = tmp_path / "plate.ome.tif"
    subprocess.run([sys.executable, program, made], check=True, capture_output=True)
    (screen,) = read_study(PROJECT / "demo" / "study", images=True)["screens"]
    (plate,) = screen["plates"]
    assert Path(plate["file"]).read_bytes() == made.read_bytes()
    assert [each["name"] for each in plate["wells"]] == ["A1", "A2", "A3", "B1", "B2", "B3"]


# Published studies, where this checkout lies beside them

published = pytest.mark.skipif(not STUDIES.is_dir(), reason=f"the published studies are not in {STUDIES}")


@published
@pytest.mark.parametrize(
    ("name", "project", "datasets", "images"),
    [
        ("idr0021", "idr0021-lawo-pericentriolarmaterial/experimentA", 10, 414),
        ("idr0062", "idr0062-blin-nuclearsegmentation/experimentA", 5, 22),
    ],
)
def test_published(name, project, datasets, images):
    """A published study with datasets is read unchanged."""
    (seen,) = read_study(STUDIES / name)["projects"]
    assert seen["name"] == project
    assert (len(seen["datasets"]), seen["images"]) == (datasets, images)
    assert all(dataset["annotations"] for dataset in seen["datasets"])


@published
def test_published_pairs():
    """A dataset of a published study has the pairs that its file gives it."""
    (project,) = read_study(STUDIES / "idr0021")["projects"]
    dataset = next(each for each in project["datasets"] if each["name"] == "CENT2")
    pairs = {each["namespace"]: dict(each["pairs"]) for each in dataset["annotations"]}
    assert pairs["openmicroscopy.org/mapr/gene"] == {
        "Gene Identifier": "ENSG00000147400",
        "Gene Identifier URL": "http://www.ensembl.org/id/ENSG00000147400",
        "Gene Symbol": "CETN2",
    }


@published
def test_published_screens(tmp_path):
    """A published study with screens is refused for a plate that two of its files name differently, else read."""
    with pytest.raises(StudyError) as refusal:
        read_study(STUDIES / "idr0056")
    missing, unknown = refusal.value.problems
    assert "screenB-annotation.csv: no row for plate 1897, which the table of files has" in missing
    assert "screenB-annotation.csv: plate '1987' is not in the table of files" in unknown

    copy = shutil.copytree(STUDIES / "idr0056", tmp_path / "idr0056", copy_function=shutil.copyfile)
    table = copy / "screenB" / "idr0056-screenB-plates.tsv"
    copy.joinpath("screenB").chmod(0o755)
    table.write_text(table.read_text().replace("1897\t", "1987\t"))
    study = read_study(copy, images=True)
    assert [(each["name"][-1], len(each["plates"]), each["wells"]) for each in study["screens"]] == [
        ("A", 10, 3080),
        ("B", 10, 3838),
        ("C", 2, 480),
    ]
    assert len(study["elsewhere"]) == 22


# Bad studies


def test_no_folder(tmp_path):
    """A folder that does not exist is named."""
    with pytest.raises(StudyError, match="nowhere does not exist; expected a study folder"):
        read_study(tmp_path / "nowhere")


def test_a_file_for_a_folder(folder):
    """A file is no study folder."""
    with pytest.raises(StudyError, match="is not a folder"):
        read_study(folder.text)


def test_no_study_file(folder):
    """study.txt must be there."""
    folder.text.unlink()
    assert "no file with the description of the study; expected one *study.txt" in only(folder.problems())


def test_two_study_files(folder):
    """Two are one too many."""
    (folder.path / "old-study.txt").write_text(TEXT)
    assert "several files with the description of the study: old-study.txt, test1-study.txt" in only(folder.problems())


def test_no_experiment_folder(folder):
    """The folder that an experiment's name ends in must be there."""
    folder.change(folder.text, "/experimentA", "/experimentB")
    assert only(folder.problems()).startswith("test1-study.txt, line 17: the name ends in experimentB")


@pytest.mark.parametrize("kind", ["rows", "map", "bulk", "files"])
def test_no_file(folder, kind):
    """Each file of an experiment must be there."""
    getattr(folder, kind).unlink()
    expected = {
        "rows": "no file with the annotations of the images; expected one *annotation.csv",
        "map": "no file with the columns to show; expected one *bulkmap-config.yml",
        "bulk": "no bulk.yml",
        "files": "`path` is test1-experimentA-filePaths.tsv, but there is no such file",
    }
    assert expected[kind] in only(folder.problems())


@pytest.mark.parametrize("kind", ["text", "rows", "map", "bulk", "files"])
def test_wrong_encoding(folder, kind):
    """A file that is not UTF-8 is named, with line and column."""
    file = getattr(folder, kind)
    head, _, tail = file.read_bytes().partition(b"\n")
    file.write_bytes(head + b"\nab\xe9" + tail)
    problem = next(each for each in folder.problems() if "UTF-8" in each)
    assert problem.startswith(f"{file.relative_to(folder.path)}, line 2, column 3: byte 0xE9 is not UTF-8")


@pytest.mark.parametrize("kind", ["text", "rows", "map", "bulk", "files"])
def test_empty_file(folder, kind):
    """An empty file is named."""
    file = getattr(folder, kind)
    file.write_text("\n")
    assert f"{file.relative_to(folder.path)}: the file is empty" in "\n".join(folder.problems())


@pytest.mark.parametrize("kind", ["map", "bulk", "shared_bulk"])
def test_bad_yaml(folder, kind):
    """What is no YAML is named, with line and column."""
    file = getattr(folder, kind)
    file.write_text("---\nname: x\n  columns: [\n")
    assert only(folder.problems()).startswith(f"{file.relative_to(folder.path)}, line 3, column 10: not valid YAML")


@pytest.mark.parametrize("kind", ["map", "bulk"])
def test_yaml_without_a_mapping(folder, kind):
    """A list is not what is wanted."""
    getattr(folder, kind).write_text("- a\n- b\n")
    assert "not a YAML mapping" in only(folder.problems())


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("Study Title\tShapes\t\t\n", "", "line 1: 'Study Title' is missing. Add it."),
        ("Study Title\tShapes\t\t", "Study Title\t\t", "line 3: 'Study Title' has no value; expected one line"),
        ("test1\t\t", "Test 1", "line 2: 'Comment[IDR Study Accession]' is 'Test 1'; expected lower-case letters"),
        ("2026-01-31", "31.1.2026", "line 8: 'Study Public Release Date' is '31.1.2026'; expected a date such as"),
        ("\t\t123", "\t\tabc", "line 11: 'Study PubMed ID' is 'abc'; expected a number"),
        ("https://doi.org/10.1000/shapes", "shapes", "line 12: 'Study DOI' is 'shapes'; expected a DOI such as"),
        ("Study Experiments Number\t1", "Study Experiments Number\t2", "line 7: 'Study Experiments Number' is '2'"),
        ("\nExperiment Number\t1", "\nExperiment Number\tone", "line 16: 'Experiment Number' is 'one'; expected a"),
        ("Study Organism\tnone\tnothing\n", "", "line 15: neither of 'Study Organism' and 'Experiment Organism'"),
        ("Experiment Sample", "Experiment Organism\tx\nExperiment Sample", "line 18: both of 'Study Organism' and"),
        ("\tA Nobody\tB Nobody", "\tA Nobody", "line 10: 2 publication titles and 1 author lists"),
        (NAME, "other-name/experimentA", "line 17: 'Comment[IDR Experiment Name]' is 'other-name/experimentA'; "),
        ("Experiment Imaging Method\tdrawing\n", "", "line 16: 'Experiment Imaging Method' is missing. Add it."),
        ("Study Type\t", "Study Title\tMore\nStudy Type\t", "line 4: 'Study Title' is a duplicate, first on line 3"),
    ],
)
def test_bad_text(folder, old, new, problem):
    """Each key of study.txt that is missing or wrong is named with its line."""
    folder.change(folder.text, old, new)
    assert folder.problems()[0].startswith(f"test1-study.txt, {problem}")


def test_no_experiment(folder):
    """A study without an experiment has nothing to import."""
    folder.text.write_text(TEXT.partition("Experiment Number")[0].replace("Experiments Number\t1", "Type\ttest data"))
    assert "no experiment and no screen. Add a section" in only(folder.problems())


def test_same_experiment_twice(folder):
    """Two experiments need two names."""
    section = TEXT[TEXT.index("Experiment Number") :].replace("Number\t1", "Number\t2")
    folder.text.write_text(TEXT.replace("Experiments Number\t1", "Experiments Number\t2") + section)
    assert f"a second experiment or screen named {NAME}" in "\n".join(folder.problems())


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        (
            "Screen:name:X",
            "column 1: target 'Screen:name:X'; expected Dataset:name:X, with X the dataset's name. Plates",
        ),
        ("Circles", "column 1: target 'Circles'; expected Dataset:name:X"),
        ("Dataset:name:Circles ", "column 1: dataset 'Circles ' begins or ends with a blank"),
        ("Project:name:other/Dataset:name:Circles", f"column 1: project 'other'; expected {NAME}"),
        ("Dataset:name:" + "x" * 256, "has 256 characters; OMERO allows 255"),
    ],
)
def test_bad_target(folder, target, problem):
    """A target that is no dataset's is named with its line."""
    with folder.files.open("a") as file:
        file.write(f"{target}\t/data/3\n")
    seen = only(folder.problems())
    assert seen.startswith("experimentA/test1-experimentA-filePaths.tsv, line 4")
    assert problem in seen


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("Dataset:name:Circles", "line 4: 1 fields; expected 2 as `columns` in test1-experimentA-bulk.yml says"),
        ("Dataset:name:Circles\t/data/circles/1", "line 4: the same as line 1"),
        ("Dataset:name:Circles\t ", "line 4, column 2: no path of a file"),
        ('"Dataset:name:Circles\t/data/3', "line 4: unexpected end of data. Check the double quotes"),
    ],
)
def test_bad_table_of_files(folder, line, problem):
    """A line of filePaths.tsv that cannot be right is named."""
    with folder.files.open("a") as file:
        file.write(f"{line}\n")
    assert f"experimentA/test1-experimentA-filePaths.tsv, {problem}" in "\n".join(folder.problems())


@pytest.mark.parametrize(
    ("kind", "old", "new", "problem"),
    [
        ("bulk", "../bulk.yml", "../all.yml", "line 2: includes ../all.yml, and there is no such file"),
        ("shared_bulk", "---\n", "---\ninclude: experimentA/test1-experimentA-bulk.yml\n", "line 2: includes itself"),
        ("shared_bulk", "  - target\n", "", "neither a column `target` nor a setting `target`"),
        ("shared_bulk", "  - path\n", "", "`columns` has no `path`"),
        ("shared_bulk", "columns:\n  - target\n  - path\n", "columns: 5\n", "bulk.yml, line 4: 'columns' is '5'"),
    ],
)
def test_bad_bulk(folder, kind, old, new, problem):
    """A bulk.yml that says too little or the wrong thing is named, an included one too."""
    folder.change(getattr(folder, kind), old, new)
    assert problem in only(folder.problems())


def test_duplicate_datasets(folder):
    """A dataset that containers.omero makes twice is named."""
    folder.containers.write_text("obj new Dataset name=Circles\nobj new Dataset name=Circles\n")
    problem = only(folder.problems())
    assert problem.startswith("experimentA/test1-experimentA-containers.omero, line 2: dataset Circles is a duplicate")


@pytest.mark.parametrize("line", ["obj new Project name=x", "obj new Dataset", "obj new Dataset name='x"])
def test_bad_containers(folder, line):
    """A line of containers.omero that makes no dataset is named."""
    folder.containers.write_text(f"{line}\n")
    assert only(folder.problems()).startswith("experimentA/test1-experimentA-containers.omero, line 1: ")


def test_dataset_without_rows(folder):
    """A dataset in the table of files needs rows."""
    with folder.files.open("a") as file:
        file.write("Dataset:name:Stars\t/data/stars\n")
    assert "no row for dataset Stars, which the table of files has" in only(folder.problems())


def test_rows_without_dataset(folder):
    """Rows need a dataset in the table of files; many of a kind are one problem."""
    with folder.rows.open("a") as file:
        file.writelines(f"Stars,s{number},red,5,,1,\n" for number in range(7))
    problem = only(folder.problems())
    assert "dataset 'Stars' is not in the table of files" in problem
    assert problem.endswith("(lines 5, 6, 7, 8, 9 and 2 more)")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("Dataset Name,", "Dataset,", "line 1: no column 'Dataset Name' (there is 'Dataset'). Add it."),
        ("Circles,c2,red,", "Circles,c2,", "6 fields, but the header has 7. Put values that contain commas"),
        ("Circles,c2,", ",c2,", "no value in 'Dataset Name'. Fill it in (line 3)"),
        ('"one, two"', '"one, two', "unexpected end of data. Check the double quotes"),
    ],
)
def test_bad_annotations(folder, old, new, problem):
    """What is wrong with annotation.csv is named with its line."""
    folder.change(folder.rows, old, new)
    assert problem in "\n".join(folder.problems())


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("name: Corners", "name: Corner", "line 8: annotation.csv has no column 'Corner' (there is 'Corners')"),
        ("    clientname: Paint", "    clientnaem: Paint", "line 11: 'clientnaem' is no setting here. Correct or"),
        ("  omitempty: yes", "  omitempty: maybe", "line 6: 'omitempty' is 'maybe'; expected true or false"),
        ("    position: 1", "    position: first", "line 14: 'position' is 'first'; expected a number"),
        ("{{ value|urlencode }}", "{{ valeu }}", "line 28: 'http://www.ensembl.org/id/{{ valeu }}' is no template: "),
        ("{{ value|urlencode }}", "{{ value", "line 28: 'http://www.ensembl.org/id/{{ value' is no template: "),
        ("      namespace: openmicroscopy.org/mapr/gene\n", "", "line 20: 'namespace' is missing. Add it."),
        ("  - name: Corners\n", "  - nam: Corners\n", "line 8: 'nam' is no setting here"),
        ("version: 1", "versoin: 1", "line 3: 'versoin' is no setting here"),
    ],
)
def test_bad_configuration(folder, old, new, problem):
    """What is wrong with bulkmap-config.yml is named with its line."""
    folder.change(folder.map, old, new)
    path = "experimentA/test1-experimentA-bulkmap-config.yml"
    assert f"{path}, {problem}" in "\n".join(folder.problems())


def test_column_twice(folder):
    """A column that is there twice cannot be used."""
    folder.change(folder.rows, "Colour,Corners", "Colour,Colour")
    assert "annotation.csv has 2 columns 'Colour'. Rename all but one." in "\n".join(folder.problems())


def test_templates_are_confined(folder):
    """A template gets at nothing of the program that renders it."""
    folder.change(folder.map, "{{ value|urlencode }}", "{{ value.__class__.__mro__ }}")
    assert "is no template" in only(folder.problems())


def test_missing_image(folder):
    """A file with a relative path must be there when images are imported; others lie elsewhere, and are named."""
    folder.change(folder.files, "/data/circles/2", "images/c2.png")
    assert read_study(folder.path)["projects"]
    with pytest.raises(StudyError) as refusal:
        read_study(folder.path, images=True)
    problem = only(refusal.value.problems)
    assert problem.startswith(
        "experimentA/test1-experimentA-filePaths.tsv, line 2, column 2: there is no file images/c2"
    )
    (folder.path / "experimentA" / "images").mkdir()
    (folder.path / "experimentA" / "images" / "c2.png").touch()
    assert read_study(folder.path, images=True)["elsewhere"] == [
        {"path": "/data/circles/1", "place": "experimentA/test1-experimentA-filePaths.tsv, line 1"},
        {"path": "/data/squares", "place": "experimentA/test1-experimentA-filePaths.tsv, line 3"},
    ]


def test_everything_at_once(folder):
    """Problems of several files are said together."""
    folder.change(folder.text, "2026-01-31", "soon")
    folder.change(folder.files, "Dataset:name:Circles\t/data/circles/1", "Circles\t/data/circles/1")
    folder.change(folder.rows, "Circles,c2,red,", "Circles,c2,")
    folder.change(folder.map, "name: Corners", "name: Corner")
    assert len(folder.problems()) == 4


# Screens


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("A1", (0, 0)),
        ("a01", (0, 0)),
        ("H12", (7, 11)),
        ("AF48", (31, 47)),
        ("1A", None),
        ("A0", None),
        ("A", None),
        ("A1 ", None),
        ("ABC1", None),
    ],
)
def test_names_of_wells(name, wanted):
    """A well's name has one or two letters and a number, in any case and with zeros before."""
    assert place(name) == wanted
    if wanted:
        assert place(name_of(*wanted)) == wanted


def test_good_screen(screen):
    """A screen has its description, its pairs in the IDR's order, and its plates with their wells."""
    found = screen.read()
    assert (found["name"], found["wells"], found["well_to_images"]) == (SCREEN, 4, True)
    assert found["description"] == "Publication Title\nOn shapes\n\nScreen Description\nShapes in wells."
    (annotation,) = found["annotations"]
    assert annotation["pairs"][:7] == [
        ["Sample Type", "clay"],
        ["Organism", "none"],
        ["Organism", "nothing"],
        ["Study Type", "test data"],
        ["Screen Type", "primary screen"],
        ["Screen Technology Type", "press"],
        ["Imaging Method", "photography"],
    ]
    assert ["Data DOI", "10.1000/screen https://doi.org/10.1000/screen"] in annotation["pairs"]
    one, two = found["plates"]
    assert (one["name"], one["file"]) == ("P1", str(screen.plate))
    assert (two["name"], two["file"]) == ("P2", "/data/plates/two")
    assert [(each["name"], each["row"], each["column"]) for each in one["wells"]] == [
        ("A1", 0, 0),
        ("B2", 1, 1),
        ("B3", 1, 2),
    ]
    assert two["wells"][0]["name"] == "AF48"


def test_pairs_of_wells(screen):
    """A well has the pairs of its row; one with several rows has what is in any of them, once."""
    first, second, empty = screen.read()["plates"][0]["wells"]
    assert {each["namespace"]: each["pairs"] for each in first["annotations"]} == {
        "openmicroscopy.org/mapr/gene": [["Gene", "G 1"]],
        "openmicroscopy.org/omero/bulk_annotations": [["Shape", "cube"], ["Plate", "P1"], ["Well", "A1"]],
    }
    pairs = {each["namespace"]: each["pairs"] for each in second["annotations"]}
    assert pairs["openmicroscopy.org/mapr/gene"] == [["Gene", "G 2"], ["Gene", "G 3"]]
    assert pairs["openmicroscopy.org/omero/bulk_annotations"] == [
        *(["Shape", "cube"], ["Plate", "P1"], ["Well", "b02"], ["Shape", "ball"])
    ]
    assert [each["namespace"] for each in empty["annotations"]] == ["openmicroscopy.org/omero/bulk_annotations"]


def test_screen_without_images(screen):
    """Where images are not imported there are no plates, and their files need not be there."""
    screen.plate.unlink()
    study = read_study(screen.path)
    assert [(each["wells"], each["plates"]) for each in study["screens"]] == [(4, [])]
    assert study["elsewhere"] == []


def test_screen_elsewhere(screen):
    """Files with full paths are named with their place, for whoever can look."""
    found = read_study(screen.path, images=True)["elsewhere"]
    assert found[-1] == {"path": "/data/plates/two", "place": "screenA/test1-screenA-plates.tsv, line 2"}


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("Screen Type\tprimary screen\n", "", "line 24: 'Screen Type' is missing. Add it."),
        ("Screen Description\tShapes in wells.", "Screen Description", "line 27: 'Screen Description' has no value"),
        (SCREEN, "other-name/screenA", "line 25: 'Comment[IDR Screen Name]' is 'other-name/screenA'; expected"),
        ("10.1000/screen", "screen", "line 31: 'Screen Data DOI' is 'screen'; expected a DOI such as"),
        (SCREEN, f"{SCREEN}B", "line 25: the name ends in screenAB, but there is no such folder"),
        ("Screen Number\t2", "Screen Number\t1", "line 16: 'Experiment Number' is '1'; expected a number that no"),
        ("Screen Type", "Screen Organism\tx\nScreen Type", "line 30: both of 'Study Organism' and 'Screen Organism'"),
        (
            "Study Type\t",
            "Study Screens Number\t2\nStudy Type\t",
            "line 4: 'Study Screens Number' is '2', but there are 1",
        ),
    ],
)
def test_bad_screen_text(screen, old, new, problem):
    """Each key of a screen that is missing or wrong is named with its line."""
    screen.change(screen.text, old, new)
    assert screen.problems()[0].startswith(f"test1-study.txt, {problem}")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            f"Screen:name:{SCREEN}",
            "Screen:name:X",
            f"target 'Screen:name:X'; expected Screen:name:{SCREEN}, as study.txt",
        ),
        (f"Screen:name:{SCREEN}", "Dataset:name:X", "target 'Dataset:name:X'; expected Screen:name:"),
        (f"target: Screen:name:{SCREEN}\n", "", "neither a column `target` nor a setting `target`"),
        ("  - name\n", "", "`columns` has no `name`, by which annotation.csv refers to plates. Add it."),
        ("  - path\n", "", "`columns` has no `path`"),
        ("plates.tsv", "plate.tsv", "line 4: `path` is test1-screenA-plate.tsv, but there is no such file"),
    ],
)
def test_bad_screen_bulk(screen, old, new, problem):
    """A bulk.yml of a screen that says too little or the wrong thing is named."""
    screen.change(screen.screen_bulk, old, new)
    assert problem in screen.problems()[0]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("P2\t", "P1\t", "line 2, column 1: plate P1 is a duplicate, first on line 1. Give each its own name"),
        ("/data/plates/two", "plates/one.ome.tif", "line 2, column 2: the same file as plate P1, on line 1. Correct"),
        ("P2\t", " P2\t", "line 2, column 1: plate ' P2' begins or ends with a blank"),
        ("P2\t", "\t", "line 2, column 1: plate '' begins or ends with a blank"),
        ("/data/plates/two", "", "line 2, column 2: no path of a file. Fill it in."),
        ("P2\t", f"{'x' * 256}\t", "has 256 characters; OMERO allows 255"),
        ("one.ome", "won.ome", "line 1, column 2: there is no file plates/won.ome.tif in screenA. Add it, or correct"),
    ],
)
def test_bad_plates(screen, old, new, problem):
    """A line of the table of plates that cannot be right is named."""
    screen.change(screen.plates, old, new)
    problems = screen.problems()
    assert any(each.startswith("screenA/test1-screenA-plates.tsv, ") and problem in each for each in problems), problems


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("Plate,", "Plates,", "line 1: no column 'Plate' (there is 'Plates'). Add it."),
        (",Well,", ",Place,", "line 1: no column 'Well'. Add it."),
        ("P1,A1,", "P1,,", "no value in 'Well'. Fill it in (line 2)"),
        ("P1,A1,", ",A1,", "no value in 'Plate'. Fill it in (line 2)"),
        ("P1,A1,", "P1,1A,", "line 2: '1A' is not a well; expected a letter or two for the row and a number"),
        (
            "P1,A1,",
            "P1,C1,",
            "plate P1 has no well C1 (2 rows, 3 columns, 6 wells). Correct it, or remove it (line 2)",
        ),
        (
            "P1,A1,",
            "P1,A4,",
            "plate P1 has no well A4 (2 rows, 3 columns, 6 wells). Correct it, or remove it (line 2)",
        ),
        (
            "b02,ball,G 3",
            "B2,cube,G 2",
            "line 4: well B2 of plate P1 is a duplicate, first on line 3, with the same values",
        ),
        (
            "P2,AF48,cone,G 4",
            "P3,A1,cone,G 4",
            "plate 'P3' is not in the table of files. Correct the name, or add it there",
        ),
        ("P2,AF48,cone,G 4\n", "", "no row for plate P2, which the table of files has. Add its wells, or remove it"),
        ("P1,A1,cube,", "P1,A1,", "3 fields, but the header has 4. Put values that contain commas"),
    ],
)
def test_bad_wells(screen, old, new, problem):
    """What is wrong with a screen's annotation.csv is named with its line."""
    screen.change(screen.wells, old, new)
    problems = screen.problems()
    assert any(each.startswith("screenA/test1-screenA-annotation.csv") and problem in each for each in problems), (
        problems
    )


def test_well_that_is_not_described(screen):
    """A well within the plate's edges that its file does not describe is none of the plate's."""

    def without_last(root):
        plate = root.find("{*}Plate")
        plate.remove(plate.findall("{*}Well")[-1])

    write_plate(screen.plate, without_last)
    assert "plate P1 has no well B3 (2 rows, 3 columns, 5 wells)" in only(screen.problems())


def test_well_beyond_the_edge(screen):
    """A well that a file describes beyond the plate's edge moves the edge, as in OMERO."""
    write_plate(screen.plate, lambda root: root.find("{*}Plate").attrib.update(Rows="1", Columns="1"))
    assert len(screen.read()["plates"][0]["wells"]) == 3
    screen.change(screen.wells, "P1,A1,", "P1,C1,")
    assert "plate P1 has no well C1 (2 rows, 3 columns, 6 wells)" in only(screen.problems())


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda root: root.remove(root.find("{*}Plate")), "describes no plate; expected a file for each plate"),
        (lambda root: root.insert(0, root.find("{*}Plate")), "describes 2 plates; expected a file for each plate"),
        (lambda root: root.find("{*}Plate/{*}Well").attrib.pop("Row"), "cannot be read: "),
    ],
)
def test_bad_plate_file(screen, change, problem):
    """A file that does not describe one plate is named where the table names it."""
    write_plate(screen.plate, change)
    assert only(screen.problems()).startswith("screenA/test1-screenA-plates.tsv, line 1, column 2: plates/one.ome.tif")
    assert problem in only(screen.problems())


def test_no_tiff(screen):
    """What only has the name of an OME-TIFF is named."""
    screen.plate.write_text("no picture")
    assert "plates/one.ome.tif cannot be read: " in only(screen.problems())


@pytest.mark.parametrize("kind", ["screen_bulk", "wells", "screen_map"])
def test_no_file_of_a_screen(screen, kind):
    """Each file of a screen must be there."""
    getattr(screen, kind).unlink()
    expected = {
        "screen_bulk": "screenA: no bulk.yml",
        "wells": "screenA: no file with the annotations of the wells; expected one *annotation.csv",
        "screen_map": "screenA: no file with the columns to show; expected one *bulkmap-config.yml",
    }
    assert expected[kind] in only(screen.problems())
