"""Reading a study folder: what comes out of a good one, and what is said of each kind of bad one."""

import gzip
from pathlib import Path

import pytest

from plugins.module_utils.study.files import StudyError
from plugins.module_utils.study.folder import read_study

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


@pytest.fixture
def folder(tmp_path):
    """Return a good study."""
    return Folder(tmp_path / "study")


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
    study = read_study(PROJECT / "demo" / "study")
    (project,) = study["projects"]
    assert "demo study" in study["title"]
    assert "demo study" in project["description"]
    assert all(dataset["annotations"] for dataset in project["datasets"])
    for line in next((PROJECT / "demo/study/experimentA").glob("*filePaths.tsv")).read_text().splitlines():
        assert (PROJECT / "demo/study/experimentA" / line.split("\t")[1]).is_file(), line


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
def test_published_screens():
    """A published study with screens is refused, and each screen is named."""
    with pytest.raises(StudyError) as refusal:
        read_study(STUDIES / "idr0056")
    assert len(refusal.value.problems) == 3
    for letter, problem in zip("ABC", refusal.value.problems, strict=True):
        assert f"idr0056-stojic-lncrnas/screen{letter}" in problem
        assert "not yet: screens and plates need image import" in problem


# Bad studies


def test_no_folder(tmp_path):
    """A folder that does not exist is named."""
    with pytest.raises(StudyError, match="nowhere does not exist; wanted is a study folder"):
        read_study(tmp_path / "nowhere")


def test_a_file_for_a_folder(folder):
    """A file is no study folder."""
    with pytest.raises(StudyError, match="is not a folder"):
        read_study(folder.text)


def test_no_study_file(folder):
    """study.txt must be there."""
    folder.text.unlink()
    assert "no file with the description of the study; wanted is one *study.txt" in only(folder.problems())


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
        "rows": "no file with the annotations of the images; wanted is one *annotation.csv",
        "map": "no file with the columns to show; wanted is one *bulkmap-config.yml",
        "bulk": "no bulk.yml",
        "files": "`path` names test1-experimentA-filePaths.tsv, and there is no such file",
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
    assert only(folder.problems()).startswith(f"{file.relative_to(folder.path)}, line 3, column 10: no valid YAML")


@pytest.mark.parametrize("kind", ["map", "bulk"])
def test_yaml_without_a_mapping(folder, kind):
    """A list is not what is wanted."""
    getattr(folder, kind).write_text("- a\n- b\n")
    assert "no YAML mapping" in only(folder.problems())


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("Study Title\tShapes\t\t\n", "", "line 1: 'Study Title' is missing. Add it."),
        ("Study Title\tShapes\t\t", "Study Title\t\t", "line 3: 'Study Title' has no value; wanted is one line"),
        ("test1\t\t", "Test 1", "line 2: 'Comment[IDR Study Accession]' is 'Test 1'; wanted is lower-case letters"),
        ("2026-01-31", "31.1.2026", "line 8: 'Study Public Release Date' is '31.1.2026'; wanted is a date such as"),
        ("\t\t123", "\t\tabc", "line 11: 'Study PubMed ID' is 'abc'; wanted is a number"),
        ("https://doi.org/10.1000/shapes", "shapes", "line 12: 'Study DOI' is 'shapes'; wanted is a DOI such as"),
        ("Study Experiments Number\t1", "Study Experiments Number\t2", "line 7: 'Study Experiments Number' is '2'"),
        ("\nExperiment Number\t1", "\nExperiment Number\tone", "line 16: 'Experiment Number' is 'one'; wanted is a"),
        ("Study Organism\tnone\tnothing\n", "", "line 15: neither of 'Study Organism' and 'Experiment Organism'"),
        ("Experiment Sample", "Experiment Organism\tx\nExperiment Sample", "line 18: both of 'Study Organism' and"),
        ("\tA Nobody\tB Nobody", "\tA Nobody", "line 10: 2 publication titles and 1 author lists"),
        (NAME, "other-name/experimentA", "line 17: 'Comment[IDR Experiment Name]' is 'other-name/experimentA'; wanted"),
        ("Experiment Imaging Method\tdrawing\n", "", "line 16: 'Experiment Imaging Method' is missing. Add it."),
        ("Study Type\t", "Study Title\tMore\nStudy Type\t", "line 4: 'Study Title' is there again, first on line 3"),
    ],
)
def test_bad_text(folder, old, new, problem):
    """Each key of study.txt that is missing or wrong is named with its line."""
    folder.change(folder.text, old, new)
    assert folder.problems()[0].startswith(f"test1-study.txt, {problem}")


def test_no_experiment(folder):
    """A study without an experiment has nothing to import."""
    folder.text.write_text(TEXT.partition("Experiment Number")[0].replace("Experiments Number\t1", "Type\ttest data"))
    assert "no experiment. Add a section" in only(folder.problems())


def test_screen(folder):
    """A screen beside an experiment is refused as well."""
    with folder.text.open("a") as file:
        file.write("Screen Number\t2\nComment[IDR Screen Name]\ttest1-nobody-shapes/screenA\n")
    problem = only(folder.problems())
    assert problem.startswith("test1-study.txt, line 24: screen test1-nobody-shapes/screenA: not yet: screens and")


def test_same_experiment_twice(folder):
    """Two experiments need two names."""
    section = TEXT[TEXT.index("Experiment Number") :].replace("Number\t1", "Number\t2")
    folder.text.write_text(TEXT.replace("Experiments Number\t1", "Experiments Number\t2") + section)
    assert f"a second experiment named {NAME}" in "\n".join(folder.problems())


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("Screen:name:X", "target Screen:name:X: not yet: screens and plates need image import"),
        ("Circles", "column 1: target 'Circles'; wanted is Dataset:name:X"),
        ("Dataset:name:Circles ", "column 1: dataset 'Circles ' begins or ends with a blank"),
        ("Project:name:other/Dataset:name:Circles", f"column 1: project 'other'; wanted is {NAME}"),
        ("Dataset:name:" + "x" * 256, "has 256 characters; OMERO takes 255"),
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
        ("Dataset:name:Circles", "line 4: 1 fields; wanted are 2 as `columns` in test1-experimentA-bulk.yml says"),
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
        ("bulk", "path: test1", "target: Screen:name:X\npath: test1", "bulk.yml: target Screen:name:X: not yet"),
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
    assert problem.startswith("experimentA/test1-experimentA-containers.omero, line 2: dataset Circles is there again")


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
        ("Circles,c2,red,", "Circles,c2,", "6 fields, and the header has 7. Put values with commas"),
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
        ("  omitempty: yes", "  omitempty: maybe", "line 6: 'omitempty' is 'maybe'; wanted is true or false"),
        ("    position: 1", "    position: first", "line 14: 'position' is 'first'; wanted is a number"),
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


def test_everything_at_once(folder):
    """Problems of several files are said together."""
    folder.change(folder.text, "2026-01-31", "soon")
    folder.change(folder.files, "Dataset:name:Circles\t/data/circles/1", "Circles\t/data/circles/1")
    folder.change(folder.rows, "Circles,c2,red,", "Circles,c2,")
    folder.change(folder.map, "name: Corners", "name: Corner")
    assert len(folder.problems()) == 4
