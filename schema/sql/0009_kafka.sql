-- What is known of the topics of Kafka that must be the same from one start to the next. A topic's number of partitions is
-- written down where it must never change; `epoch` is that of the log for which the topic was last written in full.
CREATE TABLE kafka_topic (
    name       text PRIMARY KEY,
    partitions int NOT NULL,
    epoch      text
);
