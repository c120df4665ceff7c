# SPDX-License-Identifier: Apache-2.0
"""What schemathesis cannot know of taskwire: who asks, ids of things that exist, and which values only the server makes.

PROOF_EMAIL and PROOF_PASSWORD name an account of PROOF_URL; PROOF_LIST and PROOF_TASK are its own, and so is PROOF_SERIES,
that task's; PROOF_ACCOUNT is another member.
"""
import os
import uuid

import requests
import schemathesis
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

URL = os.environ["PROOF_URL"]
REAL = {name: os.environ["PROOF_" + name.upper()] for name in ("list", "task", "series", "account")}
ENDS_SESSION = {"logOut", "deleteToken"}
PATIENCE_S = 30

# Refused for the moment (429, 503) is asked again when Retry-After says so.
session = requests.Session()
session.mount(URL, HTTPAdapter(max_retries=Retry(8, status_forcelist=(429, 503), allowed_methods=None)))


def made(path, body, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = session.post(URL + path, json=body, headers=headers, timeout=PATIENCE_S)
    answer.raise_for_status()
    return answer.json()


def log_in():
    return made("/v1/sessions", {"email": os.environ["PROOF_EMAIL"], "password": os.environ["PROOF_PASSWORD"]})["token"]


def register():
    body = {"email": f"{uuid.uuid4().hex}@example.org", "password": "correct horse battery"}
    return made("/v1/accounts", body)["token"]


def operation_id(operation):
    return operation.definition.raw.get("operationId")


@schemathesis.auth(refresh_interval=None)
class Login:
    """One login for all; what ends a login has one of its own, and so has what ends an account."""

    token = None

    @classmethod
    def shared(cls):
        cls.token = cls.token or log_in()
        return cls.token

    def get(self, case, context):
        operation = operation_id(case.operation)
        if operation == "deleteMe":
            return register()
        return log_in() if operation in ENDS_SESSION else Login.shared()

    def set(self, case, data, context):
        case.headers["Authorization"] = f"Bearer {data}"


def new_list():
    return made("/v1/lists", {"title": "To spend"}, Login.shared())["id"]


def new_task():
    """In a list of its own: that of the others may be archived by now, and then takes no task."""
    return made(f"/v1/lists/{new_list()}/tasks", {"title": "To spend"}, Login.shared())["id"]


def new_series():
    fields = {"title": "To spend", "due": "2027-01-01", "recurrence": {"rule": "weekly"}}
    return made(f"/v1/lists/{new_list()}/tasks", fields, Login.shared())["series"]


# What takes away, or closes to work, gets something to itself: the others still need what is there.
SPENDS = {
    "deleteList": lambda: {"list": new_list()},
    "patchList": lambda: {"list": new_list()},
    "deleteTask": lambda: {"task": new_task()},
    "deleteSeries": lambda: {"series": new_series()},
    "patchSeries": lambda: {"series": new_series()},
}


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Three of four ids that would be found nowhere become those of what exists."""
    for name, value in (path_parameters or {}).items():
        try:
            is_real = name in REAL and uuid.UUID(str(value)).int % 4 != 0
        except ValueError:
            continue
        if is_real:
            spend = SPENDS.get(operation_id(context.operation), lambda: REAL)
            path_parameters[name] = spend().get(name, REAL[name])
    return path_parameters


@schemathesis.hook
def before_call(context, case, kwargs):
    """Fitting the schema is not enough for some values of a good request."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    for name in ("cursor", "epoch"):  # the server makes them
        case.query.pop(name, None)
    for name in ("due_from", "due_to"):  # a schema does not know when months end
        if name in case.query:
            case.query[name] = "2026-11-23"
    if "min_rev" in case.query:  # one that never comes is waited for
        case.query["min_rev"] = 1
    for name, value in case.query.items():  # each may have so many, all together 64
        if isinstance(value, list):
            case.query[name] = value[:12]
