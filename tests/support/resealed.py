"""Files of the lab's own, changed and with a checksum that is right again: what a hostile hand can make."""

import copy
import hashlib
import json


def sealed(body):
    """The text of a JSON file with this content and its checksum."""
    body = {key: value for key, value in body.items() if key != "sha256"}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return json.dumps(body | {"sha256": hashlib.sha256(text.encode()).hexdigest()})


def changed(body, path, value):
    """A copy with another value at a path of keys; without it where the value is Ellipsis."""
    body = copy.deepcopy(body)
    at = body
    for key in path[:-1]:
        at = at[key]
    if value is ...:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return body
