"""One run of the app: check, plan, lock, work, report, sum up."""
