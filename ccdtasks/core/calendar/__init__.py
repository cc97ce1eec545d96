"""When a schedule's times are: cron, one-shot times, timezones, their words and their history."""
