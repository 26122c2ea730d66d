"""Reader of study folders in the format of the public IDR study repositories; see folder.py."""
