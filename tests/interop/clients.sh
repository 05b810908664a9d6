# shellcheck shell=bash
# The clients of the interop matrix, two functions each: `needs_CLIENT` prints the programs that it takes, and
# `client_CLIENT` makes its connections and prints what judge.awk reads, a line for each.
#
# They are given, as variables:
#
#   version       1.2 or 1.3
#   long, short   ports on 127.0.0.1: the same server with long sessions, and one whose sessions expire on the way to it
#   ca            a file with the certificates of both CAs; ca_long and ca_short have one each
#   here, tests   a directory for their files, and the one that this file is in
#
# No client runs for more than $patience seconds. shellcheck: the driver sets the variables.
# shellcheck disable=SC2154

# shellcheck disable=SC2034 # the driver reads it
all_clients=(s_client s_time gnutls tstclnt strsclnt curl python node java)
patience=30

limited() { timeout "$patience" "$@"; }

# The page in a client's output.
page_in() { grep -a 'handshake$' "$1" || echo nothing; }

# ---- OpenSSL

needs_s_client() { echo openssl; }

client_s_client() {
    local again=a.pem
    s_client full "$long" localhost -sess_out a.pem
    s_client resumed "$long" localhost -sess_in a.pem -sess_out b.pem
    s_client twice "$long" localhost -sess_in a.pem
    # With TLS 1.3 the resumed handshake has brought a new session; with TLS 1.2 the old one goes on.
    [ "$version" = 1.2 ] || again=b.pem
    s_client name "$long" other.localhost -sess_in "$again"
    s_client full "$short" localhost -sess_out c.pem
    s_client expired "$short" localhost -sess_in c.pem
}

# s_client STEP PORT NAME OPTION...: one connection, which waits for the page and so for the tickets before it.
s_client() {
    local step="$1" port="$2" name="$3" says
    printf 'GET / HTTP/1.0\r\n\r\n' |
        limited openssl s_client -connect "127.0.0.1:$port" "-tls${version/./_}" -servername "$name" -ign_eof \
            -CAfile "$ca" -verify_return_error -verify_hostname "$name" "${@:4}" >s_client.out
    # It says so of the handshake, not of the session that it may have been given since.
    case "$(grep -E '^(New|Reused), TLS' s_client.out | head -n 1)" in
    Reused*) says=resumed ;;
    New*) says=full ;;
    *) says=nothing ;;
    esac
    echo "$step $says $(page_in s_client.out)"
}

needs_s_time() { echo openssl; }

# It says nothing of a first connection, and then makes as many as it can in a second, each with the newest session.
client_s_time() {
    [ "$version" = 1.2 ] || echo "cannot twice it always takes the newest session"
    echo "cannot name it sends no server name"
    echo "full - -"
    s_time_letters "$long" | awk -v version="$version" '
        { print ((NR > 1 && version == "1.2") ? "twice" : "resumed"), $0 }'
    echo "full - -"
    s_time_letters "$short" | sed 's/^/expired /'
}

# s_time_letters PORT: of the letters that it prints, one for each connection, r means that it was resumed.
s_time_letters() {
    limited openssl s_time -connect "127.0.0.1:$1" "-tls${version/./_}" -CAfile "$ca" -verify 2 -reuse -time 1 -www / |
        awk '/^[r*]+$/ {
            for (i = 1; i <= length($0); i++) print (substr($0, i, 1) == "r" ? "resumed" : "full"), "-"
        }'
}

# ---- GnuTLS

needs_gnutls() { echo gnutls-cli; }

client_gnutls() {
    echo "cannot twice it offers a session once, and then none"
    echo "cannot name one server name serves both connections"
    gnutls resumed "$long"
    gnutls expired "$short"
}

# gnutls STEP PORT: connects, leaves when it has the session, and comes back for the page.
gnutls() {
    local says=full
    printf 'GET / HTTP/1.0\r\n\r\n' |
        limited gnutls-cli 127.0.0.1 --port "$2" --sni-hostname localhost --verify-hostname localhost \
            --x509cafile "$ca" --priority "NORMAL:-VERS-ALL:+VERS-TLS$version" --resume --waitresumption >gnutls.out
    echo "full - -"
    grep -q '^\*\*\* This is a resumed session' gnutls.out && says=resumed
    echo "$1 $says $(page_in gnutls.out)"
}

# ---- NSS

needs_tstclnt() { echo tstclnt certutil; }

client_tstclnt() {
    echo "cannot name it keeps sessions by server name"
    nss_database
    printf 'GET / HTTP/1.0\r\n\r\n' >request
    if [ "$version" = 1.2 ]; then
        tstclnt_visits "$long" full resumed twice
    else
        tstclnt_visits "$long" full resumed
        echo "cannot twice it always takes the newest session"
    fi
    tstclnt_visits "$short" full expired
}

# tstclnt_visits PORT STEP...: as many connections as steps. After each it says how many sessions were resumed so far.
tstclnt_visits() {
    local port="$1"
    shift
    limited tstclnt -4 -h localhost -p "$port" -d sql:nss -V "tls$version:tls$version" -A request -L $# 2>&1 |
        awk -v steps="$*" '
            BEGIN { split(steps, step, " ") }
            / cache hits; / { says = ($1 > hits) ? "resumed" : "full"; hits = $1 }
            /handshake$/ { print step[++visits], says, $0 }'
}

needs_strsclnt() { echo strsclnt certutil; }

# It says only how many of its connections were resumed. The first is alone, the others come from eight threads, which
# share what sessions there are. With TLS 1.3 several of them offer the same session at once: one of these gets it.
client_strsclnt() {
    echo "cannot name it keeps sessions by server name"
    nss_database
    if [ "$version" = 1.2 ]; then
        strsclnt_lines "$(strsclnt_hits "$long" 100 8)" 100 full resumed twice
    else
        strsclnt_lines "$(strsclnt_hits "$long" 20 1)" 20 full resumed
        echo "crowd 200 $(strsclnt_hits "$long" 200 8)"
    fi
    strsclnt_lines "$(strsclnt_hits "$short" 2 1)" 2 full expired
}

# strsclnt_hits PORT CONNECTIONS THREADS: prints how many sessions it says were resumed.
strsclnt_hits() {
    # Its exit status says whether it likes the number, which it never does with TLS 1.3.
    { limited strsclnt -4 -p "$1" -d sql:nss -V "tls$version:tls$version" -c "$2" -t "$3" localhost 2>&1 || true; } |
        awk '/ cache hits; / { hits = $2 } END { print hits }'
}

# strsclnt_lines HITS CONNECTIONS STEP...: a line for each connection, as if the first was full and the hits came next.
# The last STEP is that of all the rest.
strsclnt_lines() {
    local hits="$1" connections="$2" steps=("${@:3}") number says
    for ((number = 0; number < connections; number++)); do
        says=full
        [ "$number" -eq 0 ] || [ "$number" -gt "$hits" ] || says=resumed
        echo "${steps[number]-${steps[-1]}} $says -"
    done
}

nss_database() {
    mkdir nss
    certutil -N -d sql:nss --empty-password
    certutil -A -d sql:nss -n long -t C,, -a -i "$ca_long"
    certutil -A -d sql:nss -n short -t C,, -a -i "$ca_short"
}

# ---- curl

needs_curl() { echo curl; }

# It does not say whether a session that it offered was resumed.
client_curl() {
    echo "cannot name it keeps sessions by server name"
    local steps=(full resumed twice full expired) urls=() step
    if [ "$version" = 1.3 ]; then
        steps=(full resumed full expired)
        echo "cannot twice it always takes the newest session"
    fi
    local port="$long"
    for step in "${steps[@]}"; do
        [ "$step" = full ] && [ "${#urls[@]}" -gt 0 ] && port="$short"
        urls+=("https://localhost:$port/")
    done
    limited curl --silent --show-error --fail-early --ipv4 --http1.0 --cacert "$ca" \
        --tlsv"$version" --tls-max "$version" "${urls[@]}" | awk -v steps="${steps[*]}" 'BEGIN { split(steps, step, " ") } { print step[NR], "-", $0 }'
}

# ---- with a program of their own

needs_python() { echo python3; }
client_python() { limited python3 "$tests/client.py" "$version" "$ca" "$long" "$short"; }

needs_node() { echo node; }
client_node() { limited node "$tests/client.mjs" "$version" "$ca" "$long" "$short"; }

needs_java() { echo java javac; }
client_java() {
    limited javac -d classes "$tests/Client.java"
    limited java -cp classes Client "$version" "$ca" "$long" "$short"
}
