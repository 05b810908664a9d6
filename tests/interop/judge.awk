# The verdict on one client at one server with one version of TLS, from three witnesses who must agree: the client, the
# page that the server sent, and the wire between them.
#
#     awk -v version=1.3 -v stopped=STATUS -v last=LINE -f judge.awk WIRE SAID
#
# WIRE is the log of wire.rs. SAID is what the client program printed, a line for each connection, in the same order:
#
#     STEP SAYS PAGE              SAYS is full or resumed, and - where the client or the server has no word on it
#     cannot STEP WHY             the client has no way to do this step
#     crowd N RESUMED             N connections: one alone, and then many at a time, of which so many were resumed
#
# The steps, and what is right for them:
#
#     full      nothing is offered, and the handshake is full
#     resumed   a session is offered for the first time, and resumes
#     twice     it is offered again: resumes again with TLS 1.2, is refused with TLS 1.3
#     expired   a session that was never offered before is held until it has expired, and is refused
#     name      a session that would be good under its own name is offered under another, and is refused
#
# A crowd with TLS 1.3 is a `twice`, too: some of its sessions are offered several times at once, and each resumes once.
# STATUS is the client program's exit status and LINE the last of its complaints, for when it did not get to the end.
# Refused means that the handshake is full and that the connection works. Prints "STEP pass", "STEP FAIL WHY" or
# "STEP cannot WHY" for each step.

function wrong(step, why) {
    if (!(step in fault)) fault[step] = why
}

# What is wrong with a connection, or nothing.
function complaint(step, place, spoken, name, session, answer, says, page,    want) {
    want = (step == "resumed" || step == "twice" && version == "1.2") ? "resumed" : "full"
    if (spoken != version) return "the server spoke TLS " spoken
    if (place != (step == "expired" ? "short" : "long") && step != "full") return "it asked the wrong server, " place
    if (step == "full" && session != "-") return "the client offered a session"
    if (step != "full" && session == "-") return "the client offered no session"
    if (name != (step == "name" ? "other.localhost" : "localhost") && (name != "-" || step == "name"))
        return "the client asked for the server name " name
    if (step == "twice" && !(session in resumed)) return "the client offered a session that was never resumed"
    if (step == "name" && version == "1.2" && !(session in resumed))
        return "the client offered a session not known to be good"
    if ((step == "expired" || version == "1.3" && step ~ /^(resumed|name)$/) && session in offered)
        return "the client offered a session that was offered before"
    if (answer != want) return "the handshake was " answer " on the wire"
    if (says != want && says != "-") return "the client says that the handshake was " says
    if (page != "TLS " version ", " want " handshake" && page != "-") return "the page says: " page
    return ""
}

# Judges the connections of a crowd, from number `first` on.
function crowd(first, total, claimed,    i, on, hits, refused, winners) {
    for (i = first; i < first + total; i++) {
        split(wire[i], on, " ")
        if (on[2] != version) wrong("twice", "in the crowd, the server spoke TLS " on[2])
        if (on[5] != "resumed") continue
        hits++
        if (on[4] in winners) wrong("twice", "in the crowd, a session resumed twice")
        winners[on[4]]
    }
    for (i = first; i < first + total; i++) {
        split(wire[i], on, " ")
        # A client that was just refused has nothing to offer for a moment.
        if (on[5] != "full" || on[4] == "-") continue
        refused++
        if (!(on[4] in winners)) wrong("twice", "in the crowd, a session that nobody else had was refused")
    }
    if (!refused) wrong("twice", "no session was offered twice in the crowd")
    if (hits + 0 != claimed) wrong("twice", "in the crowd, the wire saw " hits + 0 " resumed, the client says " claimed)
    seen["twice"]++
}

NR == FNR { wire[++handshakes] = $0; next }
$1 == "cannot" { step = $2; sub(/^cannot [a-z]+ /, ""); excuse[step] = $0; next }
{ said[++connections] = $0 }

END {
    for (i = 1; i <= connections; i++) {
        split(said[i], words, " ")
        step = words[1]
        at = i + skipped
        if (step == "crowd") { crowd(at, words[2], words[3]); skipped += words[2] - 1; continue }
        page = said[i]
        sub(/^[^ ]+ [^ ]+ /, "", page)
        sub(/\r$/, "", page)
        seen[step]++
        if (at > handshakes) { wrong(step, "the wire saw nothing of it"); continue }
        split(wire[at], on, " ")
        why = complaint(step, on[1], on[2], on[3], on[4], on[5], words[2], page)
        if (why != "") wrong(step, why)
        offered[on[4]]
        if (on[5] == "resumed") resumed[on[4]]
    }
    if (stopped) stopped = "; the client stopped with exit status " stopped ": " last
    else stopped = ""
    count = split("full resumed twice expired name", steps, " ")
    for (i = 1; i <= count; i++) {
        step = steps[i]
        if (step in excuse && !(step in seen)) { print step, "cannot", excuse[step]; continue }
        if (!(step in seen)) wrong(step, "the client did not come to it")
        if (handshakes > connections + skipped)
            wrong(step, "the wire saw " handshakes " handshakes, the client spoke of " connections + skipped)
        if (step in fault) print step, "FAIL", fault[step] stopped
        else print step, "pass"
    }
}
