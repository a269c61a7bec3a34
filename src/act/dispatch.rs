//! Carries commands out: bounded queues, deadlines, retries, supersession.
