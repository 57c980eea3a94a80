#!/usr/bin/env bash
# A real Slurm on this machine, for tests: bash slurm.sh up|down. As root on Debian; without systemd and cgroups.
# SLURM_LAB: its folder (default: slurm-lab under TMPDIR), whose env.sh points Slurm's commands at it. NODES: 3.
set -euo pipefail
LAB=${SLURM_LAB:-${TMPDIR:-/tmp}/slurm-lab}; NODES=${NODES:-3}; LAST=$((NODES - 1))
CTLD_PORT=${CTLD_PORT:-16817}; DBD_PORT=${DBD_PORT:-16819}; NODE_PORT=${NODE_PORT:-16820}; SQL_PORT=${SQL_PORT:-13306}
die() { echo "slurm.sh: $*" >&2; exit 1; }
until_true() { local end=$((SECONDS + $1)) what=$2; shift 2; until "$@" >/dev/null 2>&1; do [ $SECONDS -lt $end ] || die "gave up: $what"; sleep 0.2; done; }
lives() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null && [ "$(cat "/proc/$(cat "$1")/comm")" = "$2" ]; }

down() {
  for name in $(seq -f 'slurmd-n%g' 0 "$LAST") slurmctld slurmdbd munged mariadbd; do
    [ -s "$LAB/run/$name.pid" ] && kill "$(cat "$LAB/run/$name.pid")" 2>/dev/null || true
  done
  sleep 2  # they still write into the folder
}

install() {
  local wanted=(munge slurmctld slurmd slurm-client slurm-wlm-basic-plugins slurmdbd slurm-wlm-mysql-plugin mariadb-server-core mariadb-client-core)
  local missing=() package
  for package in "${wanted[@]}"; do
    dpkg -s "$package" 2>/dev/null | grep -q '^Status: install ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  timeout 120 apt-get update -qq || true
  local made=  # packages must not start their services
  [ -e /usr/sbin/policy-rc.d ] || { printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d; made=1; }
  DEBIAN_FRONTEND=noninteractive timeout 400 apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$LAB/log/apt.log" 2>&1 || { tail -5 "$LAB/log/apt.log" >&2; die "the packages cannot be installed"; }
  [ -z "$made" ] || rm -f /usr/sbin/policy-rc.d
}

configure() {
  local host cpus memory
  host=$(hostname -s); cpus=$(nproc); memory=$(($(awk '/MemTotal/{print int($2/1024*0.9)}' /proc/meminfo) / NODES))
  cat >"$LAB/etc/slurm.conf" <<C
ClusterName=lab
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$CTLD_PORT
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$LAB/run/munge.socket,cred_expire=10
CryptoType=crypto/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=5
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SwitchType=switch/none
ReturnToService=2
JobRequeue=1
KillWait=5
MinJobAge=300
SlurmdTimeout=30
SlurmctldTimeout=30
PropagateResourceLimits=NONE
StateSaveLocation=$LAB/state
SlurmctldPidFile=$LAB/run/slurmctld.pid
SlurmctldLogFile=$LAB/log/slurmctld.log
SlurmdPidFile=$LAB/run/slurmd-%n.pid
SlurmdSpoolDir=$LAB/spool/%n
SlurmdLogFile=$LAB/log/slurmd-%n.log
DefMemPerCPU=1000
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$DBD_PORT
AccountingStoragePass=$LAB/run/munge.socket
NodeName=n[0-$LAST] NodeHostname=$host NodeAddr=127.0.0.1 Port=[$NODE_PORT-$((NODE_PORT + LAST))] CPUs=$((cpus > 1 ? cpus : 2)) RealMemory=$memory State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=REQUEUE GraceTime=0
PartitionName=high Nodes=ALL Default=NO MaxTime=INFINITE State=UP PriorityTier=100 PreemptMode=OFF
C
  cat >"$LAB/etc/slurmdbd.conf" <<C
AuthType=auth/munge
AuthInfo=socket=$LAB/run/munge.socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=$DBD_PORT
SlurmUser=root
PidFile=$LAB/run/slurmdbd.pid
LogFile=$LAB/log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$SQL_PORT
StorageUser=slurm
StoragePass=lab
StorageLoc=slurm_acct_db
C
  chmod 600 "$LAB/etc/slurmdbd.conf"
  # The names of these nodes do not resolve, so that processes on two of them meet here.
  printf 'export SLURM_CONF=%s\nexport MASTER_ADDR=127.0.0.1\n' "$LAB/etc/slurm.conf" >"$LAB/env.sh"
}

up() {
  [ "$(id -u)" = 0 ] || die "must be root"
  command -v apt-get >/dev/null || die "needs Debian's packages"
  mkdir -p "$LAB"/{etc,run,log,spool,state}; chmod 755 "$LAB" "$LAB"/{etc,run,log}
  install
  configure
  export SLURM_CONF=$LAB/etc/slurm.conf
  [ -s "$LAB/etc/munge.key" ] || (umask 077; head -c 128 /dev/urandom >"$LAB/etc/munge.key")
  lives "$LAB/run/munged.pid" munged || munged --force --key-file="$LAB/etc/munge.key" --socket="$LAB/run/munge.socket" \
    --pid-file="$LAB/run/munged.pid" --log-file="$LAB/log/munged.log" --seed-file="$LAB/state/munged.seed" --num-threads=2
  until_true 10 munged sh -c "munge -n -S '$LAB/run/munge.socket' | unmunge -S '$LAB/run/munge.socket'"
  local data=$LAB/state/mysql sql=(mariadb --no-defaults -uroot -S "$LAB/run/mysql.sock")
  if ! lives "$LAB/run/mariadbd.pid" mariadbd; then
    [ -d "$data/mysql" ] || { mkdir -p "$data"; timeout 60 mariadb-install-db --no-defaults --user=root --datadir="$data" \
      --auth-root-authentication-method=normal --skip-test-db >"$LAB/log/mysql.log" 2>&1 || die "see $LAB/log/mysql.log"; }
    setsid mariadbd --no-defaults --user=root --datadir="$data" --bind-address=127.0.0.1 --port="$SQL_PORT" \
      --socket="$LAB/run/mysql.sock" --pid-file="$LAB/run/mariadbd.pid" --innodb-buffer-pool-size=64M \
      --innodb-lock-wait-timeout=900 >"$LAB/log/mariadbd.log" 2>&1 </dev/null &
  fi
  until_true 30 mariadbd "${sql[@]}" -e 'select 1'
  "${sql[@]}" -e "CREATE DATABASE IF NOT EXISTS slurm_acct_db; CREATE USER IF NOT EXISTS 'slurm'@'127.0.0.1' IDENTIFIED BY 'lab'; CREATE USER IF NOT EXISTS 'slurm'@'localhost' IDENTIFIED BY 'lab'; GRANT ALL ON slurm_acct_db.* TO 'slurm'@'127.0.0.1'; GRANT ALL ON slurm_acct_db.* TO 'slurm'@'localhost';"
  lives "$LAB/run/slurmdbd.pid" slurmdbd || (cd "$LAB/log" && slurmdbd)
  until_true 30 slurmdbd sacctmgr -n show cluster
  sacctmgr -n show cluster format=cluster | grep -qw lab || sacctmgr -i -Q add cluster lab >/dev/null
  lives "$LAB/run/slurmctld.pid" slurmctld || (cd "$LAB/log" && slurmctld -i)
  until_true 20 slurmctld sh -c 'scontrol ping | grep -q UP'
  local node
  for node in $(seq 0 "$LAST"); do
    mkdir -p "$LAB/spool/n$node"
    lives "$LAB/run/slurmd-n$node.pid" slurmd || (cd "$LAB/log" && slurmd -N "n$node")
    scontrol update nodename="n$node" state=resume >/dev/null 2>&1 || true
  done
  until_true 30 "idle nodes" sh -c "[ \"\$(sinfo -h -p main -t idle,mix,alloc -o %D | awk '{s+=\$1}END{print s+0}')\" -ge $NODES ]"
  echo "$LAB/env.sh"
}

case ${1:-} in up) up ;; down) down ;; *) die "up or down" ;; esac
