# Sourced by the checks: a folder of their own, which becomes the current one, a server in it, certificates, a line for
# each outcome. `$root` is the repository.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
check_name=$(basename "$0")
# Nothing here takes as long; it keeps what hangs from hanging the suite.
patience_seconds=120
wasmux=$(realpath "${WASMUX:-${CARGO_TARGET_DIR:-$root/target}/debug/wasmux}")
[ -x "$wasmux" ] || { echo "$check_name: there is no $wasmux; cargo build --workspace, or name one in WASMUX" >&2; exit 2; }

site=$(mktemp -d)
pid=
failed=0
finish() {
    local status=$?
    if [ -n "$pid" ]; then
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    fi
    cd / && rm -rf "$site"
    exit "$status"
}
trap finish EXIT
trap 'exit 1' INT TERM
cd "$site"
# What is configured for whoever runs this is not part of the check.
export CURL_HOME=$site no_proxy='*'
unset http_proxy https_proxy all_proxy HTTPS_PROXY ALL_PROXY

give_up() {
    echo "FAILED  $check_name: $*"
    tail -n 20 log 2>/dev/null || true
    exit 1
}

# wait_until COMMAND…: until it succeeds.
wait_until() {
    local until=$((SECONDS + patience_seconds))
    until "$@"; do
        [ "$SECONDS" -lt "$until" ] || give_up "gave up after $patience_seconds s: $*"
        sleep 0.05
    done
}

# serve COUNT: serves ./routes.toml; it listens on COUNT addresses. Sets `pid`; the log is ./log, and ./out the rest.
serve() {
    # There before the first look.
    : >out
    "$wasmux" serve --config routes.toml >>out 2>log &
    pid=$!
    listens() {
        kill -0 "$pid" 2>/dev/null || give_up "wasmux has ended"
        [ "$(grep -c '^listening on ' out)" -ge "$1" ]
    }
    wait_until listens "$1"
}

# url NUMBER: of the NUMBERth address, without a path.
url() { sed -n 's/^listening on //p' out | sed -n "$1p"; }
port() { url "$1" | sed 's/.*://'; }

# check WHAT COMMAND…: says whether the command succeeds; its output only if it does not.
check() {
    local what=$1
    shift
    if "$@" >check.out 2>&1; then
        echo "ok      $check_name: $what"
    else
        echo "FAILED  $check_name: $what: $*"
        sed 's/^/        | /' check.out | tail -n 40
        failed=1
    fi
}

# is WANTED COMMAND…: succeeds if that is all the command prints, lines joined by spaces.
is() {
    local wanted=$1 got
    shift
    got=$("$@" | tr -s '\n' ' ' | sed 's/ *$//') || { echo "$* failed; it printed: $got"; return 1; }
    [ "$got" = "$wanted" ] || { echo "wanted: $wanted"; echo "got:    $got"; return 1; }
}

# authority NAME: makes NAME.pem and NAME.key, which sign certificates.
authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$1" \
        -addext basicConstraints=critical,CA:true -keyout "$1.key" -out "$1.pem" 2>openssl.log || give_up "$(cat openssl.log)"
}

# certificate NAME AUTHORITY SUBJECT EXTENSION: makes NAME.pem and NAME.key.
certificate() {
    {
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$3" -keyout "$1.key" -out "$1.csr" &&
            openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -set_serial "0x$(openssl rand -hex 8)" -days 2 \
                -extfile <(echo "$4") -out "$1.pem"
    } 2>openssl.log || give_up "$(cat openssl.log)"
}

# The reference host for components, at the version of the engine that wasmux is built with.
wasmtime_version=48.0.8

# wasmtime_cli: prints the path of `wasmtime`, which has `serve`. The first time that builds it, which takes two cores a
# quarter of an hour; it stays in $XDG_CACHE_HOME/wasmux-peers. WASMTIME names another one.
wasmtime_cli() {
    local folder=${XDG_CACHE_HOME:-$HOME/.cache}/wasmux-peers/wasmtime-$wasmtime_version
    local wasmtime=${WASMTIME:-$folder/bin/wasmtime}
    if [ ! -x "$wasmtime" ]; then
        [ -z "${WASMTIME:-}" ] || { echo "$check_name: there is no $WASMTIME" >&2; return 1; }
        echo "$check_name: building wasmtime $wasmtime_version into $folder; this takes a quarter of an hour" >&2
        # Its release profile, as it is published; of its features those that `serve` has a use for.
        (
            cd "$root" && cargo install wasmtime-cli --version "$wasmtime_version" --locked --root "$folder" \
                --no-default-features --features serve,run,compile,cranelift,parallel-compilation,pooling-allocator \
                --features component-model-async,wat,backtrace,demangle,addr2line,logging
        ) >&2 || { echo "$check_name: cargo could not install wasmtime" >&2; return 1; }
    fi
    echo "$wasmtime"
}

# The last line of a check. The server must have lived through all of it, and must end when told to.
conclude() {
    check 'the server still runs' kill -0 "$pid"
    check 'no panic in the log but those of guests' sh -c '! grep -v " guest: " log | grep -n panicked'
    kill -TERM "$pid" 2>/dev/null || true
    local ended=0
    wait "$pid" || ended=$?
    pid=
    check 'it ends with 0 on SIGTERM' test "$ended" = 0
    exit "$failed"
}
