"""Trials on Ray Tune's workers. The only folder that imports ray; the driver makes every decision."""

import os

# here, since Ray and Tune read these when they are imported or first called
os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")  # relative paths stay what the user meant
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"  # 0.045 s instead of 0.85 s per no-op trial
os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # Ctrl-C is ours
os.environ.setdefault(
    "TUNE_GLOBAL_CHECKPOINT_S", str(24 * 3600)
)  # the storage is the memory, not Tune's file
os.environ.setdefault("TUNE_WARN_THRESHOLD_S", "2")
os.environ.setdefault("TUNE_FORCE_TRIAL_CLEANUP_S", "10")
# a stopped trial tidies up before its worker takes the next one; Tune's 2 s are short beside a slow disk, and past them
# it drops that next trial without a word to the searcher
os.environ.setdefault("TUNE_FUNCTION_THREAD_TIMEOUT_S", "600")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
