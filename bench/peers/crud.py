# SPDX-License-Identifier: Apache-2.0
"""The task service as it is usually written: FastAPI, asyncpg, uvicorn. It does less than taskwire: one table, an
outbox row beside the change, no repeat recognised, nobody told."""
import hashlib
import json
import os
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

import asyncpg
from fastapi import Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel

CAN_READ, CAN_WRITE = 1, 2


@asynccontextmanager
async def lifespan(app: FastAPI):
    app.state.pool = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=10, max_size=20)
    yield
    await app.state.pool.close()


app = FastAPI(lifespan=lifespan)


class Task(BaseModel):
    id: UUID
    list: UUID
    title: str
    notes: str
    tags: list[str]
    status: str
    priority: str
    due: datetime | None
    version: int
    created_at: datetime
    updated_at: datetime


class TaskPatch(BaseModel):
    title: str | None = None
    notes: str | None = None
    status: str | None = None
    priority: str | None = None


async def current_account(authorization: str = Header()) -> UUID:
    token = authorization.removeprefix("Bearer ")
    account = await app.state.pool.fetchval("SELECT account FROM token WHERE hash = $1",
                                            hashlib.sha256(token.encode()).digest())
    if account is None:
        raise HTTPException(401)
    return account


@app.get("/v1/tasks/{task}")
async def get_task(task: UUID, account: UUID = Depends(current_account)) -> Task:
    row = await app.state.pool.fetchrow("SELECT t.* FROM task t JOIN member m ON m.list = t.list"
                                        " WHERE t.id = $1 AND m.account = $2 AND m.role >= $3", task, account, CAN_READ)
    if row is None:
        raise HTTPException(404)
    return Task(**row)


@app.patch("/v1/tasks/{task}")
async def patch_task(task: UUID, patch: TaskPatch, account: UUID = Depends(current_account)) -> Task:
    changes = patch.model_dump(exclude_unset=True)
    async with app.state.pool.acquire() as connection, connection.transaction():
        row = await connection.fetchrow(
            "UPDATE task t SET title = coalesce($3, title), notes = coalesce($4, notes), status = coalesce($5, status),"
            " priority = coalesce($6, priority), version = version + 1, updated_at = now() FROM member m"
            " WHERE t.id = $1 AND m.list = t.list AND m.account = $2 AND m.role >= $7 RETURNING t.*",
            task, account, patch.title, patch.notes, patch.status, patch.priority, CAN_WRITE)
        if row is None:
            raise HTTPException(404)
        await connection.execute("INSERT INTO outbox (key, type, payload) VALUES ($1, 'task.updated', $2)", row["list"],
                                 json.dumps({"task": str(task), "by": str(account), "version": row["version"], "set": changes}))
    return Task(**row)
