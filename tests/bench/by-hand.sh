# The procedures of the shipped workflows as somebody would type them who knows every answer beforehand: the same changes,
# the same drains, the same readiness waited for, and nothing looked at that is not needed to go on. `cargo xtask bench
# --lab` holds runner against it. `$1` is the procedure; where things are and which versions are wanted, the environment
# says. It says `out NODE` and `in NODE` where the load balancer would be told.
set -eu

k() { "$OUT/bin/kubectl" --kubeconfig "$OUT/kubeconfig" "$@"; }

# on HOST WORD...: a script from standard input as root, the words its arguments.
on() {
    host=$1
    shift
    ssh -F "$OUT/ssh_config" -o ControlMaster=auto -o ControlPersist=60 -o ControlPath="$CONTROL/%C" "$host" \
        "sudo -n sh -es -- $*"
}

# quietly COMMAND...: what it says matters only when it fails.
quietly() {
    "$@" >"$WORK/said" 2>&1 || {
        cat "$WORK/said" >&2
        exit 1
    }
}

# until_so COMMAND...: asks twice a second, for five minutes.
until_so() {
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -lt 600 ] || {
            echo "it did not come about: $*" >&2
            exit 1
        }
        sleep 0.5
    done
}

# install HOST PACKAGE=VERSION...
install() {
    quietly on "$@" <<'END'
export DEBIAN_FRONTEND=noninteractive
apt-get install -qq --yes --no-install-recommends --allow-downgrades --allow-change-held-packages \
    -o Dpkg::Options::=--force-confold "$@" </dev/null
systemctl daemon-reload
END
}

# units VERB HOST UNIT...
units() {
    verb=$1 where=$2
    shift 2
    quietly on "$where" "$verb" "$@" <<'END'
systemctl "$@"
END
}

etcd_is_well() {
    for member in $MEMBERS; do
        echo 'etcdctl endpoint health' | on "$member" || return 1
    done
}

# Members of etcd, the leader last.
members() {
    last=
    for member in $MEMBERS; do
        if echo 'etcdctl endpoint status --write-out=fields' | on "$member" |
            awk -F' : ' '/"MemberID"/ { me = $2 } /"Leader"/ { leader = $2 } END { exit me != leader }'; then
            last=$member
        else
            echo "$member"
        fi
    done
    echo "$last"
}

etcd() {
    for member in $(members); do
        units stop "$member" etcd
        # shellcheck disable=SC2086 # a list of words
        install "$member" $ETCD
        units start "$member" etcd
        until_so etcd_is_well
    done
}

api_servers() {
    for master in $MASTERS; do
        # shellcheck disable=SC2086
        install "$master" $API_SERVER
        units restart "$master" kube-apiserver
        until_so k get --raw /readyz
    done
}

controllers() {
    for master in $MASTERS; do
        # shellcheck disable=SC2086
        install "$master" $CONTROLLERS
        units restart "$master" kube-controller-manager kube-scheduler
        units is-active "$master" kube-controller-manager kube-scheduler
    done
}

workloads_are_ready() {
    quietly k rollout status --timeout=300s --namespace kube-flannel daemonset/kube-flannel-ds
    quietly k rollout status --timeout=300s --namespace traefik daemonset/traefik
    quietly k rollout status --timeout=300s --namespace monitoring statefulset/prometheus
    quietly k rollout status --timeout=300s --namespace "$CANARY_NAMESPACE" "deployment/$CANARY"
}

leave_rotation() {
    echo "out $1"
    quietly k drain "$1" --ignore-daemonsets --timeout=600s
}

return_to_rotation() {
    quietly k uncordon "$1"
    workloads_are_ready
    echo "in $1"
}

docker() {
    quietly on "$1" "$DOCKER_LOG_SIZE" "$DOCKER_LIMIT" <<'END'
sed -i -E "s/(\"max-size\": *\")[^\"]*/\1$1/" /etc/docker/daemon.json
drop_in=/etc/systemd/system/docker.service.d/10-limits.conf
mkdir -p "${drop_in%/*}"
if [ "$2" = none ]; then
    rm -f "$drop_in"
else
    printf '[Service]\n%s\n' "$2" >"$drop_in"
fi
systemctl daemon-reload
END
    # shellcheck disable=SC2086
    install "$1" $DOCKER
    units restart "$1" docker
    units is-active "$1" docker containerd
}

node() {
    # shellcheck disable=SC2086
    install "$1" $NODE
    units restart "$1" kubelet kube-proxy
    quietly k wait --timeout=300s "--for=jsonpath={.status.nodeInfo.kubeletVersion}=$KUBELET" "node/$1"
    quietly k wait --timeout=300s --for=condition=Ready "node/$1"
}

flannel() {
    for node in $NODES; do
        quietly on "$node" "$CNI_VERSION" <<'END'
sed -i -E "s/(\"cniVersion\": *\")[^\"]*/\1$1/" /etc/cni/net.d/10-flannel.conflist
END
    done
    k get configmap --namespace kube-flannel kube-flannel-cfg --output json |
        sed -E "s/(cniVersion\\\\\": *\\\\\")[0-9.]*/\\1$CNI_VERSION/" >"$WORK/kube-flannel-cfg.json"
    quietly k apply --server-side --force-conflicts -f "$WORK/kube-flannel-cfg.json"
    quietly k set image --namespace kube-flannel daemonset/kube-flannel-ds "kube-flannel=$FLANNEL_IMAGE" \
        "install-cni=$FLANNEL_IMAGE" "install-cni-plugin=$CNI_PLUGIN_IMAGE"
    quietly k rollout status --timeout=600s --namespace kube-flannel daemonset/kube-flannel-ds
}

ingress() {
    quietly k set image --namespace traefik daemonset/traefik "traefik=$TRAEFIK_IMAGE"
    quietly k rollout status --timeout=600s --namespace traefik daemonset/traefik
}

metrics() {
    quietly k set image --namespace monitoring statefulset/prometheus "prometheus=$PROMETHEUS_IMAGE"
    quietly k rollout status --timeout=600s --namespace monitoring statefulset/prometheus
}

# What the older release has and the newer has not. What is saved of it is for another platform's server to number.
SURPLUS_OF_FLANNEL='clusterrole/flannel-psp configmap/kube-flannel-cfg-v1'
SURPLUS_OF_INGRESS='configmap/traefik-defaults-v2'

# save_surplus NAMESPACE OBJECT...
save_surplus() {
    namespace=$1
    shift
    k get --namespace "$namespace" "$@" --ignore-not-found --output yaml |
        sed -E '/^ +(uid|resourceVersion|creationTimestamp): /d' >"$WORK/surplus-$namespace.yaml"
}

bring_surplus_back() {
    [ ! -s "$WORK/surplus-$1.yaml" ] || quietly k apply --server-side --force-conflicts -f "$WORK/surplus-$1.yaml"
}

# Configuration, data, and that every package can be had again.
backup_all() {
    first=${MEMBERS%% *}
    on "$first" >"$WORK/etcd.db" <<'END'
umask 077
etcdctl snapshot save /var/tmp/by-hand.db >/var/tmp/by-hand.said 2>&1
cat /var/tmp/by-hand.db
rm /var/tmp/by-hand.db /var/tmp/by-hand.said
END
    for host in $HOSTS; do
        on "$host" >"$WORK/$host.tar" <<'END'
cd /
packages=$(dpkg-query --show --showformat '${db:Status-Status} ${Package}=${Version}\n' 'etcd-*' 'kube*' docker.io \
    containerd 2>/dev/null | sed -n 's/^installed //p')
apt-get install -qq --yes --download-only --reinstall $packages </dev/null >&2
tar --create --ignore-failed-read --file - \
    $(ls -d etc/etcd etc/kubernetes etc/docker etc/containerd etc/cni var/lib/kubelet/config.yaml etc/default/kube* \
        etc/systemd/system/docker.service.d 2>/dev/null)
END
    done
    for namespace in kube-flannel traefik monitoring; do
        k get all,configmap,serviceaccount --namespace "$namespace" --output yaml >"$WORK/$namespace.yaml"
    done
    # shellcheck disable=SC2086
    save_surplus kube-flannel $SURPLUS_OF_FLANNEL
    # shellcheck disable=SC2086
    save_surplus traefik $SURPLUS_OF_INGRESS
    on "$VOLUME_HOST" "$VOLUME" "$PROMETHEUS_URL" >"$WORK/prometheus.tar" <<'END'
name=$(curl --silent --fail --request POST "$2/api/v1/admin/tsdb/snapshot" | sed 's/.*"name":"\([^"]*\)".*/\1/')
cd "$1"
tar --create --file - $(find . -mindepth 1 -maxdepth 1 ! -name snapshots ! -name wal ! -name chunks_head ! -name lock \
    ! -name queries.active ! -name '01*') --directory "snapshots/$name" $(ls -A "snapshots/$name")
rm -r "snapshots/$name"
END
}

update_all() {
    etcd
    api_servers
    controllers
    for name in $NODES; do
        leave_rotation "$name"
        docker "$name"
        node "$name"
        return_to_rotation "$name"
    done
    flannel
    # shellcheck disable=SC2086
    quietly k delete --ignore-not-found --namespace kube-flannel $SURPLUS_OF_FLANNEL
    ingress
    # shellcheck disable=SC2086
    quietly k delete --ignore-not-found --namespace traefik $SURPLUS_OF_INGRESS
    metrics
}

backout_flannel() {
    bring_surplus_back kube-flannel
    flannel
}

backout_all() {
    quietly k scale --namespace monitoring statefulset/prometheus --replicas=0
    quietly k wait --timeout=300s --for=delete --namespace monitoring pod/prometheus-0
    echo "find '$VOLUME' -mindepth 1 -delete" | on "$VOLUME_HOST"
    ssh -F "$OUT/ssh_config" -o ControlPath="$CONTROL/%C" "$VOLUME_HOST" \
        "sudo -n tar --extract --file - --directory '$VOLUME'" <"$WORK/prometheus.tar"
    quietly k set image --namespace monitoring statefulset/prometheus "prometheus=$PROMETHEUS_IMAGE"
    quietly k scale --namespace monitoring statefulset/prometheus --replicas=1
    quietly k rollout status --timeout=600s --namespace monitoring statefulset/prometheus
    bring_surplus_back traefik
    ingress
    for name in $NODES; do
        leave_rotation "$name"
        node "$name"
        docker "$name"
        return_to_rotation "$name"
    done
    controllers
    api_servers
    quietly on "${MEMBERS%% *}" "$ETCD_MINOR" <<'END'
etcdctl downgrade validate "$1"
etcdctl downgrade enable "$1"
END
    for member in $MEMBERS; do
        until_so data_is_older "$member"
    done
    etcd
}

data_is_older() {
    echo 'etcdctl endpoint status --write-out=json' | on "$1" | grep "\"storageVersion\":\"$ETCD_MINOR\."
}

"$1"
