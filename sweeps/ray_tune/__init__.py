"""Trials on the workers of Ray Tune. The driver makes every decision.

This is the only folder that imports ray.
"""

import os

# Ray and Tune read these variables when they are imported or first called. So they are set here.
os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")  # relative paths keep the user's meaning
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"  # 0.045 s instead of 0.85 s per no-op trial
os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # foldsweep itself handles Ctrl-C
# the Optuna storage holds the sweep's state, so Tune need not write its own state file
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", str(24 * 3600))
os.environ.setdefault("TUNE_WARN_THRESHOLD_S", "2")
os.environ.setdefault("TUNE_FORCE_TRIAL_CLEANUP_S", "10")
# A stopped trial removes its files before its worker takes the next trial. Tune waits 2 s for this
# by default, which is too short on a slow disk. After this time Tune drops the next trial and does
# not notify the searcher.
os.environ.setdefault("TUNE_FUNCTION_THREAD_TIMEOUT_S", "600")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
