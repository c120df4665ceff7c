-- When all-day tasks remind, as a clock in the task's zone shows it: 'HH:MM'. Read with the account.
ALTER TABLE account ADD COLUMN all_day_reminder_time text NOT NULL DEFAULT '09:00';

-- For whom a reminder is: 0 `account`, 1 the assignee, who is `account` (NULL: nobody), 2 all.
ALTER TABLE reminder ADD COLUMN whom smallint NOT NULL DEFAULT 2;
ALTER TABLE reminder ADD COLUMN account uuid;

-- What is to come in a list, for GET /v1/reminders; states: 0 pending, 1 fired, 2 ended, 3 missed.
CREATE INDEX reminder_list ON reminder (list, fire_at, task, reminder) WHERE state = 0;

-- What fired in a list, and when; or was missed, then `fired_at` is null. A row per instant, while `reminder` has a row
-- per reminder. Its key is the order in which GET /v1/reminders reads it.
CREATE TABLE reminder_past (
    list     uuid NOT NULL,
    fire_at  timestamptz NOT NULL,
    task     uuid NOT NULL,
    reminder uuid NOT NULL,
    whom     smallint NOT NULL,
    account  uuid,
    fired_at timestamptz,
    PRIMARY KEY (list, fire_at, task, reminder)
);

-- Up to which instant an account has dismissed a reminder.
CREATE TABLE reminder_dismissed (
    task     uuid NOT NULL,
    reminder uuid NOT NULL,
    account  uuid NOT NULL,
    until    timestamptz NOT NULL,
    PRIMARY KEY (task, reminder, account)
);
-- For an account that is erased.
CREATE INDEX reminder_dismissed_account ON reminder_dismissed (account);
