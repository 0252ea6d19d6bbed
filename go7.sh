S=/work/main/.venv/bin/sweeps
python3 tiny.py dst4 random '  lr: {values: [0.001, 0.01, 0.02, 0.03]}' 'warm_start: [src]' 'seed: 3'
sed -i 's/epochs: {value: 1}/epochs: {value: 3}/; s/run_cap: 2/run_cap: 4/' dst4.yaml
nice $S run dst4.yaml --local --plain 2>&1; echo rc=$?
python3 tiny.py dst5 random '  lr: {values: [0.001, 0.01]}' 'warm_start: [src]'
sed -i 's/backbone: {value: test_resnet}/backbone: {values: [test_resnet, test_efficientnet]}/' dst5.yaml
nice $S run dst5.yaml --local --plain 2>&1 | head -2
# second warm start after source grew
$S run src.yaml --local --plain --set early_terminate=null; echo rc=$?
$S check src.yaml --set name=zz --set metric.goal=null 2>&1 | tail -2
