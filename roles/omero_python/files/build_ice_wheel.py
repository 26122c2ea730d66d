#!/usr/bin/env python3
"""Build the zeroc-ice 3.6 wheel from its source distribution on CPython 3.11 or newer, with all cores.

Usage: build_ice_wheel.py SOURCE_DIR OUT_DIR

Run with the interpreter that the wheel is for; needs setuptools and wheel beside it, g++ and the headers of Python,
OpenSSL and bzip2. The sources stay as they are: the header and folder `compat` beside this file stand in for what
CPython 3.11 took away.
"""

import importlib
import os
import pathlib
import runpy
import sys
from concurrent.futures import ThreadPoolExecutor

# setuptools first: it brings the distutils that the source's setup.py asks for.
importlib.import_module("setuptools")
ccompiler = importlib.import_module("distutils.ccompiler")

COMPAT = pathlib.Path(__file__).resolve().parent / "compat"


def compile_in_parallel(
    self,
    sources,
    output_dir=None,
    macros=None,
    include_dirs=None,
    debug=0,
    extra_preargs=None,
    extra_postargs=None,
    depends=None,
):
    """Compile each source in a thread of its own; arguments and result as CCompiler.compile."""
    macros, objects, extra, preprocessor, build = self._setup_compile(
        output_dir, macros, include_dirs, sources, depends, extra_postargs
    )
    arguments = self._get_cc_args(preprocessor, debug, extra_preargs)

    def compile_one(item):
        target, (source, suffix) = item
        # Given to each compile, since which of CFLAGS and CXXFLAGS is heard differs between Pythons.
        # -O1: the wheel is as fast for our use, and done in half the time. -g0: a tenth of the size.
        flags = [*extra, "-O1", "-g0", f"-I{COMPAT}"]
        if suffix == ".cpp":
            flags += ["-include", str(COMPAT / "ice36_py311.h")]
        self._compile(target, source, suffix, arguments, flags, preprocessor)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(compile_one, build.items()))
    return objects


def main(source, out):
    """Build the wheel of the sources in `source` into the folder `out` (both str)."""
    out = str(pathlib.Path(out).resolve())
    os.chdir(source)
    ccompiler.CCompiler.compile = compile_in_parallel
    sys.path.insert(0, str(pathlib.Path.cwd()))
    sys.argv = ["setup.py", "--quiet", "bdist_wheel", "--dist-dir", out]
    runpy.run_path("setup.py", run_name="__main__")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
