# What must work besides the commands of the README; $1 is the version, $2 a colleague of the user.
cd /
[ "$(runner --version)" = "runner $1" ]
runner --help | grep -q 'Exit codes'
for shell in bash:runner.bash zsh:_runner fish:runner.fish; do
    runner completions "${shell%%:*}" | cmp - "/opt/runner/completions/${shell#*:}"
done
bash -n /opt/runner/completions/runner.bash
for plugin in /opt/runner/plugins/*.wasm; do
    runner plugin inspect "$plugin" | grep "^plugin  *$(basename "$plugin" .wasm) "
done
for workflow in /opt/runner/workflows/*-*.json; do
    runner workflow check "$workflow"
done
# The colleague goes on from the user's backup.
sudo usermod --append --groups operators "$2"
sudo -u "$2" runner run /opt/runner/workflows/update-all.json \
    -e no_interactive=True -e interactive_update=False -e stop_containers=True
runner runs show
runner backups verify -i /opt/runner/workflows/inventories/demo/inventory.json
for text in crates.txt c-libraries.txt rust-standard-library.html; do
    [ -s "/opt/runner/licenses/$text" ]
done
