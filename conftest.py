"""What every test of the project and its adapters shares."""

pytest_plugins = ["live_check.plugin", "left_behind", "ends_in_time", "steady"]
