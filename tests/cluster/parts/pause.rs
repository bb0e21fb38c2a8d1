//! Holds a pod's namespaces while its containers come and go. The container runtime kills it with the pod.

fn main() {
    loop {
        std::thread::park();
    }
}
