// SPDX-License-Identifier: MIT
/* observe.c - calls whoever watches, if anyone does. Steps and decoding forbid allocation; a watcher is allowed it. */
#include "observe.h"

void observe_pass(PassPoint point, size_t layer, const Model *model, const Workspace *ws)
{
    const Observer *o = ws->cx->observer;
    if (!o || !o->pass) return;
    int depth = mem_guard_pause();
    o->pass(o->self, point, layer, model, ws);
    mem_guard_resume(depth);
}

#define OBSERVE(what, Seen) \
    void observe_##what(const Compute *cx, const Seen *seen) \
    { \
        if (!cx->observer || !cx->observer->what) return; \
        int depth = mem_guard_pause(); \
        cx->observer->what(cx->observer->self, seen); \
        mem_guard_resume(depth); \
    }
OBSERVE(loss, SeenLoss)
OBSERVE(choice, SeenChoice)
OBSERVE(step, SeenStep)
