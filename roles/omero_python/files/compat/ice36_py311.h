/* zeroc-ice 3.6 reads PyThreadState.frame, which CPython 3.11 no longer shows: a stand-in with that one field. */
#ifdef __cplusplus
#include <Python.h>
#include <frameobject.h>

struct Ice36ThreadState { PyFrameObject* frame; };

static inline Ice36ThreadState* ice36_thread_state()
{
    static thread_local Ice36ThreadState state;
    state.frame = PyEval_GetFrame();
    return &state;
}

#undef PyThreadState_GET
#define PyThreadState_GET() ice36_thread_state()
#endif
