# A multilang bolt for any POSIX shell: sends each first value in capitals.
say() { printf '%s\nend\n' "$1"; }
while IFS= read -r line; do
    case $line in
    end) ;;
    *'"pidDir"'*)
        dir=${line#*'"pidDir":"'}
        dir=$(printf '%s' "${dir%%'"'*}" | sed 's,\\/,/,g') # Storm escapes slashes
        : >"$dir/$$"
        say "{\"pid\":$$}"
        ;;
    *'"__heartbeat"'*) say '{"command":"sync"}' ;;
    *'"tuple":["'*)
        id=${line#*'"id":"'}
        id=${id%%'"'*}
        word=${line#*'"tuple":["'}
        word=$(printf '%s' "${word%%'"'*}" | tr '[:lower:]' '[:upper:]')
        say "{\"command\":\"emit\",\"anchors\":[\"$id\"],\"tuple\":[\"$word\"],\"need_task_ids\":false}"
        say "{\"command\":\"ack\",\"id\":\"$id\"}"
        ;;
    esac
done
