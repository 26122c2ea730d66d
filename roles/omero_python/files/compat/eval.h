/* CPython 3.11 dropped eval.h; what it declared is in Python.h. */
#include <Python.h>
