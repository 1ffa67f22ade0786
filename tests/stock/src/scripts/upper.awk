# A multilang bolt in awk: sends each first value in capitals. `awk -f scripts/upper.awk` reads frames line by line.
function say(message) { print message; print "end"; fflush() }
function field(name,   found) {
    found = match($0, "\"" name "\":\"[^\"]*\"")
    return found ? substr($0, RSTART + length(name) + 4, RLENGTH - length(name) - 5) : ""
}
$0 == "end" { next }
/"pidDir"/ { dir = field("pidDir"); pid = PROCINFO["pid"]; if (!pid) pid = 1; printf "" > (dir "/" pid); say("{\"pid\":" pid "}"); next }
/"__heartbeat"/ { say("{\"command\":\"sync\"}"); next }
/"tuple"/ {
    match($0, /"tuple":\["[^"]*"/)
    word = substr($0, RSTART + 10, RLENGTH - 11)
    id = field("id")
    say("{\"command\":\"emit\",\"anchors\":[\"" id "\"],\"tuple\":[\"" toupper(word) "\"],\"need_task_ids\":false}")
    say("{\"command\":\"ack\",\"id\":\"" id "\"}")
}
