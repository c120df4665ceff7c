# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Private Apache Kafka clusters without containers, to be sourced. Everything of a cluster is in a directory of its own;
# it listens on loopback, on ports of its own that it keeps, so that clients find it again after a restart. As root the
# directory and the brokers belong to the account that PostgreSQL runs as.
#
#   kafka_fetch                  downloads the broker by Maven into kafka_cache, unless it is there; prints the place
#   addresses=$(kafka_start DIR [OPTION…])   makes the cluster if need be, starts each node that does not run, waits
#                                until all answer, prints HOST:PORT[,…] of the listeners without TLS and login
#   kafka_prepare DIR [OPTION…]  only makes it; DIR/nodeN/run is then the program that runs a node. What is there already
#                                is told where the broker of this version is
#   kafka_stop DIR, kafka_kill DIR           in order, or at once; data and ports stay
#   kafka_remove DIR             kills it and deletes the directory
#   kafka_pid DIR [N]            prints a node's process id; fails if it does not run
#   kafka_bootstrap DIR [plain|sasl|tls|sasl_tls]   prints the addresses of a kind of listener
#
# Options count when the cluster is made, and hold as long as it is there:
#   --nodes N            N nodes, on 127.0.0.1, 127.0.0.2 …; with three, topics have three replicas
#   --port PORT          the port, if it and the one after it are free
#   --login USER:SECRET  also listeners that ask for it, by PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512
#   --tls                also listeners with TLS, whose authority is DIR/tls/ca.pem
#   -c NAME=VALUE        a setting of the brokers
# Environment: TW_KAFKA_CACHE, where downloads are kept; TW_KAFKA_HEAP (512m), what a broker's heap may grow to.

# shellcheck source=deploy/lib/postgres.sh
declare -F pg_as >/dev/null || . "$(dirname "${BASH_SOURCE[0]}")/postgres.sh"
KAFKA_POM=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/kafka.xml

kafka_version()
{
    sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$KAFKA_POM"
}

# The downloads are shared by all checkouts. As root they are where other accounts can read them.
kafka_cache()
{
    if [ -n "${TW_KAFKA_CACHE:-}" ]; then
        pg_path "$TW_KAFKA_CACHE"
    elif [ "$(id -u)" -eq 0 ]; then
        echo /var/cache/taskwire
    else
        echo "${XDG_CACHE_HOME:-$HOME/.cache}/taskwire"
    fi
}

# A Java that the brokers run on: the first of 17 or newer.
kafka_java()
{
    local java version
    for java in "$(command -v java)" /usr/lib/jvm/*/bin/java; do
        [ -x "$java" ] || continue
        version=$("$java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
        [ "${version:-0}" -lt 17 ] || { echo "$java"; return; }
    done
    echo "kafka.sh: no Java 17 or newer found" >&2
    return 1
}

# The packages that are missing to fetch and run it.
kafka_packages()
{
    kafka_java >/dev/null 2>&1 || echo default-jre-headless
    [ -d "$(kafka_cache)/kafka-$(kafka_version)" ] || command -v mvn >/dev/null || echo maven
}

# A download that was cut is not taken for a whole one: the directory gets its name when it is complete. Maven's own
# store goes then; until then it saves what came already.
kafka_fetch()
{
    local cache lib
    cache=$(kafka_cache)
    lib=$cache/kafka-$(kafka_version)
    (umask 022 && mkdir -p "$cache") || return 1
    (
        flock 9
        [ -d "$lib" ] && exit
        rm -rf "$lib.new"
        mvn -q -B -C -f "$KAFKA_POM" -Dmaven.repo.local="$cache/maven" \
            dependency:copy-dependencies -DoutputDirectory="$lib.new" >"$cache/maven.log" 2>&1 9>&- ||
            { tail -n 20 "$cache/maven.log" >&2; exit 1; }
        [ -f "$lib.new/kafka_2.13-$(kafka_version).jar" ] || { echo "kafka.sh: the download has no broker" >&2; exit 1; }
        chmod -R u=rwX,go=rX "$lib.new" && mv "$lib.new" "$lib" && rm -rf "$cache/maven"
    ) 9>"$cache/lock" || return 1
    echo "$lib"
}

# A file of loaded classes, which brings a start from three seconds to one. It fits one build of Java; any other ignores
# it. It is made by a broker that is started for it and stopped.
kafka_classes()
{
    local lib=$1 classes dir
    classes=$lib-$("$(kafka_java)" -version 2>&1 | cksum | cut -d ' ' -f 1).jsa
    [ -e "$classes" ] && { echo "$classes"; return; }
    dir=$(mktemp -d) && chmod 755 "$dir" || return 1
    (
        flock 9
        [ -e "$classes" ] && exit
        kafka_make "$dir/c" "$lib" && echo "-XX:ArchiveClassesAtExit=$dir/c/node1/classes" >>"$dir/c/node1/args" &&
            kafka_launch "$dir/c" 1 && kafka_await "$dir/c" 1 && kafka_signal "$dir/c" TERM 60 &&
            cp "$dir/c/node1/classes" "$classes.new" && chmod 644 "$classes.new" && mv "$classes.new" "$classes"
    ) 9>"$(kafka_cache)/lock" >&2
    kafka_remove "$dir/c"
    rmdir "$dir"
    [ -e "$classes" ] && echo "$classes"
}

# A port from which on `n` are free on all these addresses: the first one asked for, else a random one below those that
# the kernel gives to connections, one of which could have it when a broker is back.
kafka_free_port()
{
    python3 - "$@" <<'PYTHON'
import random, socket, sys
wanted, n, addresses = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]

def is_free(port):
    sockets = []
    try:
        for address in addresses:
            for i in range(n):
                sockets.append(socket.socket())
                sockets[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sockets[-1].bind((address, port + i))
        return True
    except OSError:
        return False
    finally:
        for one in sockets:
            one.close()

tries = ([wanted] if wanted else []) + [random.randrange(20000, 32000, 5) for _ in range(200)]
print(next(port for port in tries if is_free(port)))
PYTHON
}

# An authority, and a certificate of it for every address of the cluster.
kafka_make_tls()
{
    local tls=$1 names=$2
    mkdir -p "$tls" && cd "$tls" || return 1
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj /CN=taskwire-kafka-ca \
        -keyout ca.key -out ca.pem 2>/dev/null &&
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=taskwire-kafka \
            -keyout key.pem -out request.pem 2>/dev/null &&
        openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 \
            -extfile <(echo "subjectAltName=$names") -out cert.pem 2>/dev/null &&
        cat key.pem cert.pem ca.pem >broker.pem
}

# The listeners of a node, and how each is protected: sets `listeners` and `protocols` of the caller.
kafka_listeners()
{
    local address=$1 port=$2 login=$3 tls=$4
    listeners="PLAINTEXT://$address:$port,CONTROLLER://$address:$((port + 1))"
    protocols=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
    [ -z "$login" ] || { listeners+=",SASL://$address:$((port + 2))"; protocols+=,SASL:SASL_PLAINTEXT; }
    [ -z "$tls" ] || { listeners+=",TLS://$address:$((port + 3))"; protocols+=,TLS:SSL; }
    [ -z "$login" ] || [ -z "$tls" ] || { listeners+=",SASL_TLS://$address:$((port + 4))"; protocols+=,SASL_TLS:SASL_SSL; }
}

# How the listeners that want a login check it.
kafka_login_properties()
{
    local login=$1 name scram=org.apache.kafka.common.security.scram.ScramLoginModule
    echo sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
    for name in sasl sasl_tls; do
        echo "listener.name.$name.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_${login%%:*}=\"${login#*:}\";"
        echo "listener.name.$name.scram-sha-256.sasl.jaas.config=$scram required;"
        echo "listener.name.$name.scram-sha-512.sasl.jaas.config=$scram required;"
    done
}

# Settings for few clients on one machine: few threads, small buffers, no waiting for members that could still come, nor
# long for the session of a broker that was killed, which is over before it may come back.
kafka_properties()
{
    local dir=$1 node=$2 n_nodes=$3 port=$4 login=$5 tls=$6 listeners protocols copies voters='' i
    kafka_listeners "127.0.0.$node" "$port" "$login" "$tls"
    copies=$((n_nodes < 3 ? 1 : 3))
    for ((i = 1; i <= n_nodes; i++)); do voters+=",$i@127.0.0.$i:$((port + 1))"; done
    cat <<PROPERTIES
process.roles=broker,controller
node.id=$node
controller.quorum.voters=${voters#,}
listeners=$listeners
advertised.listeners=$listeners
listener.security.protocol.map=$protocols
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=$dir/node$node/data
auto.create.topics.enable=false
num.partitions=3
default.replication.factor=$copies
min.insync.replicas=$(((copies + 1) / 2))
offsets.topic.replication.factor=$copies
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=$copies
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=$copies
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.session.timeout.ms=$((n_nodes == 1 ? 2000 : 6000))
broker.heartbeat.interval.ms=$((n_nodes == 1 ? 500 : 1000))
replica.lag.time.max.ms=5000
num.network.threads=1
num.io.threads=2
background.threads=2
log.cleaner.dedupe.buffer.size=4194304
PROPERTIES
    [ -z "$login" ] || kafka_login_properties "$login"
    [ -z "$tls" ] || printf '%s\n' ssl.keystore.type=PEM "ssl.keystore.location=$dir/tls/broker.pem"
}

kafka_write()
{
    cat >"$1.new" || return 1
    if cmp -s "$1.new" "$1"; then rm "$1.new"; else mv "$1.new" "$1"; fi
}

# How a node is run: arguments of Java in a file, because there are many jars, and a program. They are left alone if they
# are right: whoever starts what has changed looks at them.
kafka_make_program()
{
    local dir=$1 node=$2 lib=$3 jars=() jar classes=''
    mkdir -p "$dir/node$node" || return 1
    for jar in "$lib"/*.jar; do jars+=(":$jar"); done
    printf -v jars '%s' "${jars[@]}"
    [ -z "$4" ] || classes=-XX:SharedArchiveFile=$4
    kafka_write "$dir/node$node/args" <<ARGS
-XX:+UseSerialGC
-XX:TieredStopAtLevel=1
-XX:+ExitOnOutOfMemoryError
-Xms64m
-Xmx${TW_KAFKA_HEAP:-512m}
-Dorg.slf4j.simpleLogger.defaultLogLevel=warn
-Dorg.slf4j.simpleLogger.showDateTime=true
"-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSSX"
-cp "${jars#:}"
$classes
ARGS
    kafka_write "$dir/node$node/run" <<RUN
#!/bin/sh
cd "$dir/node$node" && echo \$\$ >pid && exec "$(kafka_java)" "@$dir/node$node/args" kafka.Kafka "$dir/node$node/properties"
RUN
    chmod 755 "$dir/node$node/run"
}

# Gives a node an empty log that knows its cluster and the login.
kafka_format()
{
    local dir=$1 node=$2 cluster=$3 login=$4 logins=() kind
    if [ -n "$login" ]; then
        for kind in SCRAM-SHA-256 SCRAM-SHA-512; do
            logins+=(--add-scram "$kind=[name=${login%%:*},password=${login#*:}]")
        done
    fi
    pg_as "$(kafka_java)" "@$dir/node$node/args" kafka.tools.StorageTool format -t "$cluster" -c "$dir/node$node/properties" \
        "${logins[@]}" >"$dir/node$node/format.log" 2>&1 || { tail -n 20 "$dir/node$node/format.log" >&2; return 1; }
}

# Makes everything but the class file: DIR, where the jars are, where the class file is, options.
kafka_make()
{
    local dir=$1 lib=$2 classes=${3:-} n_nodes=1 port=0 login='' tls='' names='' more=() addresses=() node cluster
    shift $(($# < 3 ? $# : 3))
    while [ $# -gt 0 ]; do
        case $1 in
        --nodes) n_nodes=$2; shift 2 ;;
        --port) port=$2; shift 2 ;;
        --login) login=$2; shift 2 ;;
        --tls) tls=yes; shift ;;
        -c) more+=("$2"); shift 2 ;;
        *) echo "kafka.sh: what is $1?" >&2; return 1 ;;
        esac
    done
    rm -rf "$dir"/node* "$dir/tls"
    mkdir -p "$dir" && chmod 700 "$dir" || return 1
    for ((node = 1; node <= n_nodes; node++)); do addresses+=("127.0.0.$node"); names+=",IP:127.0.0.$node"; done
    port=$(kafka_free_port "$port" "$([ -n "$login$tls" ] && echo 5 || echo 2)" "${addresses[@]}") || return 1
    [ -z "$tls" ] || (kafka_make_tls "$dir/tls" "${names#,}") || return 1
    cluster=$(head -c 16 /dev/urandom | base64 | tr +/ 12 | tr -d =)
    for ((node = 1; node <= n_nodes; node++)); do
        kafka_make_program "$dir" "$node" "$lib" "$classes" || return 1
        { kafka_properties "$dir" "$node" "$n_nodes" "$port" "$login" "$tls" && printf '%s\n' "${more[@]}"; } >"$dir/node$node/properties"
    done
    [ "$(id -u)" -ne 0 ] || chown -R "$(pg_account):" "$dir" || return 1
    for ((node = 1; node <= n_nodes; node++)); do kafka_format "$dir" "$node" "$cluster" "$login" || return 1; done
}

# A cluster that was only half made is made anew.
kafka_prepare()
{
    local dir lib classes node
    dir=$(pg_path "$1")
    shift
    lib=$(kafka_fetch) || return 1
    classes=$(kafka_classes "$lib") || classes=
    if [ -e "$dir/made" ]; then
        for node in $(kafka_nodes "$dir"); do kafka_make_program "$dir" "$node" "$lib" "$classes" || return 1; done
    else
        kafka_make "$dir" "$lib" "$classes" "$@" && touch "$dir/made"
    fi
}

kafka_nodes()
{
    local node
    for node in "$1"/node*; do
        [ ! -d "$node" ] || echo "${node##*/node}"
    done
}

# Whoever has a dead broker's process id is not taken for it.
kafka_pid()
{
    local dir pid
    dir=$(pg_path "$1")/node${2:-1}
    pid=$(cat "$dir/pid" 2>/dev/null) && [ -n "$pid" ] && tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF "@$dir/args " &&
        echo "$pid"
}

kafka_launch()
{
    pg_as setsid --fork "$1/node$2/run" </dev/null >>"$1/node$2/log" 2>&1 9>&-
}

# Asks for the versions that the broker speaks, which needs no login, and waits for the first bytes of the answer.
kafka_answers()
{
    [ "$( (exec 3<>"/dev/tcp/$1/$2" && printf '\0\0\0\12\0\22\0\0\0\0\0\1\377\377' >&3 && timeout 2 head -c 4 <&3) 2>/dev/null | wc -c)" = 4 ]
}

# Waits until a node answers; fails when it has ended, or not answered in a minute.
kafka_await()
{
    local dir=$1 node=$2 port i
    port=$(kafka_listener "$dir" "$node" PLAINTEXT)
    for ((i = 0; i < 600; i++)); do
        kafka_answers "${port%:*}" "${port#*:}" && kafka_pid "$dir" "$node" >/dev/null && return
        [ "$i" -lt 50 ] || kafka_pid "$dir" "$node" >/dev/null || break
        sleep 0.1
    done
    tail -n 20 "$dir/node$node/log" >&2 2>/dev/null
    return 1
}

kafka_listener()
{
    sed -n "s,^listeners=.*\<$3://\([^,]*\).*,\1,p" "$1/node$2/properties"
}

kafka_bootstrap()
{
    local dir node kind all=''
    dir=$(pg_path "$1")
    case ${2:-plain} in
    plain) kind=PLAINTEXT ;;
    *) kind=${2^^} ;;
    esac
    for node in $(kafka_nodes "$dir"); do all+=,$(kafka_listener "$dir" "$node" "$kind"); done
    echo "${all#,}"
}

kafka_start()
{
    local dir lock node
    dir=$(pg_path "$1")
    shift
    lock=$dir.lock
    mkdir -p "$(dirname "$dir")" || return 1
    (
        flock 9
        kafka_prepare "$dir" "$@" || exit 1
        for node in $(kafka_nodes "$dir"); do
            kafka_pid "$dir" "$node" >/dev/null || kafka_launch "$dir" "$node"
        done
        for node in $(kafka_nodes "$dir"); do kafka_await "$dir" "$node" || exit 1; done
    ) 9>"$lock" || return 1
    kafka_bootstrap "$dir"
}

# Sends all nodes a signal and waits for their end, at most this many seconds.
kafka_signal()
{
    local dir=$1 signal=$2 seconds=$3 node pid i
    for node in $(kafka_nodes "$dir"); do
        pid=$(kafka_pid "$dir" "$node") && kill "-$signal" "$pid" 2>/dev/null
    done
    for node in $(kafka_nodes "$dir"); do
        for ((i = 0; ; i++)); do
            kafka_pid "$dir" "$node" >/dev/null || break
            [ "$i" -lt $((seconds * 20)) ] || return 1
            sleep 0.05
        done
    done
}

kafka_kill()
{
    kafka_signal "$(pg_path "$1")" KILL 10
}

# The last nodes of several may wait in vain for the others to take over.
kafka_stop()
{
    kafka_signal "$(pg_path "$1")" TERM 20 || kafka_kill "$1"
}

kafka_remove()
{
    kafka_kill "$1" || return 1
    rm -rf "$(pg_path "$1")" "$(pg_path "$1").lock"
}
