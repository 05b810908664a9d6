# For scripts/loom, scripts/shuttle and scripts/mutants: which models there are, and how a checker runs them. To be sourced
# in loom-tests.
# shellcheck shell=bash

# checkers_of FILE: who runs the models in it, by the cfg at its head; nothing if that is none that is known.
checkers_of() {
    case $(grep -m 1 '^#!\[cfg(' "$1" || true) in
    '#![cfg(any(refrain_loom, refrain_shuttle))]') echo loom shuttle ;;
    '#![cfg(all(refrain_loom, crossbeam_loom))]') echo loom ;;
    '#![cfg(refrain_shuttle)]') echo shuttle ;;
    esac
}

# models_in FILE: the names of the models in it.
models_in() {
    awk '/^[[:space:]]*#\[test\]/ { test = 1; next }
        test && match($0, /fn [a-z0-9_]+/) {
            print substr($0, RSTART + 3, RLENGTH - 3)
            test = 0
        }' "$1"
}

# rustflags_of CHECKER
rustflags_of() {
    case $1 in
    # The second cfg is for crossbeam-epoch itself: see tests/conformance.rs.
    loom) echo "--cfg refrain_loom --cfg crossbeam_loom -Cdebug-assertions=on" ;;
    shuttle) echo "--cfg refrain_shuttle -Cdebug-assertions=on" ;;
    esac
}

# expected CHECKER [NAME ..]: the models that it has to run, sorted; with names, those whose names contain one of them.
expected() {
    local checker=$1 file model name
    shift
    for file in tests/*.rs; do
        if [ -z "$(checkers_of "$file")" ] || [ -z "$(models_in "$file")" ]; then
            echo "${0##*/}: loom-tests/$file has no models, or no checker" >&2
            return 1
        fi
        [[ " $(checkers_of "$file") " == *" $checker "* ]] || continue
        for model in $(models_in "$file"); do
            [ $# -gt 0 ] || echo "$model"
            for name in "$@"; do
                [[ $model != *"$name"* ]] || { echo "$model"; break; }
            done
        done
    done | sort
    return "${PIPESTATUS[0]}"
}

# run_models CHECKER [NAME ..]: runs them, shows what each tells, and leaves in `ran` and `executions` how many there were
# and in `log` all that was told. False if a model failed, or if any of those that it has to run did not.
run_models() {
    local checker=$1 failed name must
    shift
    for name in "$@"; do
        if [ -z "$(expected "$checker" "$name")" ]; then
            echo "${0##*/}: no model is called $name" >&2
            return 1
        fi
    done
    must=$(expected "$checker" "$@") || return 1
    # More than one, because a single thread of libtest writes the name of a test before what the test tells.
    local threads
    threads=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
    [ "$threads" -gt 1 ] || threads=2
    set +e
    cargo test --color never --release --tests --no-fail-fast -- --nocapture --test-threads "$threads" "$@" 2>&1 |
        tee "$log" | grep --line-buffered -Ev '^$|^test |^running |^ +(Running|Compiling|Finished)'
    failed=${PIPESTATUS[0]}
    set -e
    ran=$(grep -cE '^[a-z0-9_]+: [0-9]+ executions' "$log" || true)
    executions=$(awk '/^[a-z0-9_]+: [0-9]+ executions/ { sum += $2 } END { print sum + 0 }' "$log")
    [ "$failed" -eq 0 ] || return 1
    # Each once, by its own name.
    if ! diff <(echo "$must") <(sed -nE 's/^([a-z0-9_]+): [0-9]+ executions.*/\1/p' "$log" | sort); then
        echo "${0##*/}: the models that ran (>) are not those that had to (<)" >&2
        return 1
    fi
}
