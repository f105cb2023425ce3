#!/bin/sh
# Makes the certificates of etcd's nodes, and an authority of their own that signs them.
#
#   etcd-certificates.sh DIRECTORY NODE...
#
# NODE is the address or the host name in the node's URL.  DIRECTORY/NODE gets ca.crt, server.crt and server.key, which
# belong into /etc/etcd of that node.  DIRECTORY/ca.key can sign more of them, so keep it in a safe place.
# With the same DIRECTORY, a later run adds a node or renews its certificate, and keeps the authority.
set -eu

directory=${1:?usage: etcd-certificates.sh DIRECTORY NODE...}
shift
: "${1:?usage: etcd-certificates.sh DIRECTORY NODE...}"
days=3650
umask 077
mkdir -p "$directory"

quietly() { # COMMAND...: run it, and show its messages only if it fails
    "$@" 2>"$directory/errors" || {
        cat "$directory/errors" >&2
        exit 1
    }
    rm "$directory/errors"
}

if [ ! -s "$directory/ca.crt" ]; then
    quietly openssl req -x509 -newkey rsa:2048 -nodes -days "$days" -subj "/CN=etcd of a fleet" \
        -keyout "$directory/ca.key" -out "$directory/ca.crt"
fi

for node in "$@"; do
    case $node in
    *:*) kind=IP ;;
    *[!0-9.]*) kind=DNS ;;
    *) kind=IP ;;
    esac
    made=$directory/$node
    mkdir -p "$made"
    # The nodes use it in both directions.  It has no common name, which etcd could take for the name of a user.
    quietly openssl req -x509 -newkey rsa:2048 -nodes -days "$days" -subj "/O=etcd of a fleet" \
        -CA "$directory/ca.crt" -CAkey "$directory/ca.key" \
        -addext "basicConstraints=critical,CA:FALSE" -addext "extendedKeyUsage=serverAuth,clientAuth" \
        -addext "subjectAltName=$kind:$node,IP:127.0.0.1,DNS:localhost" \
        -keyout "$made/server.key" -out "$made/server.crt"
    cp "$directory/ca.crt" "$made/ca.crt"
    chmod 0644 "$made/ca.crt" "$made/server.crt"
    echo "$made has the certificate of $node"
done
