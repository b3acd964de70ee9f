#!/usr/bin/env bash
# A Ray task that returns a generator delivers its first value alone; ray.get raises nothing.
#
# Seen: of a task that returns (10 * i for i in (1, 2, 3)), and of such a method of an actor, ray.get gives 10; of a generator without values it raises ValueError. A task that returns map or zip delivers the whole iterator. Only the log of the worker tells of the loss.
# Memory would have guessed: TypeError, since a generator cannot be pickled (as for a generator inside a tuple), or an ObjectRefGenerator, as for a task with yield.
# For separation: a function that lazily returns the estimates of many windows or recordings loses all but the first when it is run by Ray; return a list.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q ray==2.60.0
cd "$work"
RAY_USAGE_STATS_ENABLED=0 "$work/venv/bin/python" - "$work" <<'END'
import logging
import sys

import ray


def get(returned):
    """Value of a task that returns ``returned()``, or the name of the error."""
    try:
        return ray.get(ray.remote(lambda: returned()).remote())
    except Exception as error:
        return next(kind.__name__ for kind in type(error).__mro__ if kind in (TypeError, ValueError, Exception))


class Actor:
    def values(self):
        return (10 * i for i in (1, 2, 3))


ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, _temp_dir=sys.argv[1])
found = {
    "generator": get(lambda: (10 * i for i in (1, 2, 3))),
    "empty generator": get(lambda: (i for i in ())),
    "generator in a tuple": get(lambda: ((i for i in (1, 2, 3)),)),
    "map": list(get(lambda: map(str, (1, 2, 3)))),
    "zip": list(get(lambda: zip("ab", (1, 2)))),
    "of an actor": ray.get(ray.remote(Actor).remote().values.remote()),
}
print("ray", ray.__version__, found)
ray.shutdown()
assert found["generator"] == found["of an actor"] == 10
assert found["empty generator"] == "ValueError" and found["generator in a tuple"] == "TypeError"
assert found["map"] == ["1", "2", "3"] and found["zip"] == [("a", 1), ("b", 2)]
END
