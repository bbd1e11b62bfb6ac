package main

// containerdConfig takes the node's directory, the directory and path of its socket, the sandbox image, the CNI plugins and
// configuration, and the mirrors. Without CAP_SYS_RESOURCE (containers, build machines) a negative oom_score_adj is refused,
// and no container would start.
const containerdConfig = `version = 2
root = "%s/containerd"
state = "%s"
oom_score = 0
[grpc]
  address = "%s"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "%s"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "%s"
    conf_dir = "%s/cni"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "%s"
`

// cniConfig takes the node's number twice and where it writes down which addresses are taken.
const cniConfig = `{
  "cniVersion": "0.4.0",
  "name": "node",
  "plugins": [
    {
      "type": "bridge", "bridge": "cni%d", "isGateway": true, "hairpinMode": true,
      "ipam": {
        "type": "host-local", "ranges": [[{"subnet": "10.244.%d.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "%s"
      }
    }
  ]
}
`

// kubeletConfig takes the node's address twice, containerd's socket and the node's directory.
const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: %s
healthzBindAddress: %s
containerRuntimeEndpoint: unix://%s
resolvConf: %[4]s/resolv.conf
podLogsDir: %[4]s/logs
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
makeIPTablesUtilChains: false
evictionHard: {memory.available: 100Mi, nodefs.available: 1%%}
imageGCHighThresholdPercent: 100
nodeStatusUpdateFrequency: 5s
`
