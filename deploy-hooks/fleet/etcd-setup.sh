#!/bin/sh
# Creates the users and the roles of a fleet in etcd, and turns authentication on.
#
#   etcd-setup.sh FLEET [DIRECTORY]
#
# ETCDCTL_ENDPOINTS, ETCDCTL_CACERT and the other variables of etcdctl(1) say how etcd is reached.  If authentication is
# already on, ETCDCTL_USER=root:PASSWORD is needed.  The passwords are written to DIRECTORY (default: /etc/rainbowd).
set -eu

fleet=${1:?usage: etcd-setup.sh FLEET [DIRECTORY]}
directory=${2:-/etc/rainbowd}
prefix=/rainbowd/$fleet/
export ETCDCTL_API=3
umask 077
mkdir -p "$directory"

password() { # NAME: its password, made at the first run
    file=$directory/$1
    [ -s "$file" ] || od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$file"
    cat "$file"
}

user() { # NAME ROLE
    if etcdctl user get "$1" >/dev/null 2>&1; then
        printf '%s\n' "$(password "$1")" | etcdctl user passwd "$1" --interactive=false
    else
        etcdctl user add "$1:$(password "$1")"
    fi
    etcdctl user grant-role "$1" "$2"
}

role() { # NAME
    etcdctl role get "$1" >/dev/null 2>&1 || etcdctl role add "$1"
    etcdctl role grant-permission "$1" --prefix=true read "$prefix"
}

# An agent can write how far a rollout is, and what it runs, but no order.
role "$fleet-agent"
etcdctl role grant-permission "$fleet-agent" readwrite "${prefix}progress"
for part in members present history; do
    etcdctl role grant-permission "$fleet-agent" --prefix=true readwrite "$prefix$part/"
done
user "$fleet-agent" "$fleet-agent"

# A deployer can order, lock, and forget a member.
role "$fleet-deployer"
for key in order lock; do
    etcdctl role grant-permission "$fleet-deployer" readwrite "$prefix$key"
done
etcdctl role grant-permission "$fleet-deployer" --prefix=true readwrite "${prefix}members/"
user "$fleet-deployer" "$fleet-deployer"

user root root
etcdctl auth enable || echo "authentication was on already"

echo "the agents' user is $fleet-agent, with the password in $directory/$fleet-agent"
echo "the deployers' user is $fleet-deployer, with the password in $directory/$fleet-deployer"
echo "keep $directory/root in a safe place"
