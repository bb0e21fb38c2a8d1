# syntax=docker/dockerfile:1
# The image for people with Docker. `cargo xtask image` makes the same without it.
#
#   docker build --tag ghcr.io/rouse-proxy/rouse:0.1.0 .
#   docker build --tag ghcr.io/stefanprodan/podinfo:6.7.1 --target demo-app .    # where podinfo cannot be pulled

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# Static, so that the image needs no library. The target is named, so that build scripts and macros are not linked statically.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/target \
    host="$(rustc --print host-tuple)" \
    && RUSTFLAGS="-C target-feature=+crt-static" CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_STRIP=debuginfo \
       cargo build --release --locked --package rouse --target "$host" --target-dir /target \
    && cp "/target/$host/release/rouse" /rouse

# The program on an empty root. No certificates: the API server is trusted by the one that the kubelet mounts. No shell, no /tmp.
FROM scratch AS program
COPY --from=build /rouse /rouse
# By number: the kubelet cannot check a name against runAsNonRoot.
USER 65532:65532
WORKDIR /

FROM program AS demo-app
EXPOSE 9898
ENTRYPOINT ["/rouse", "demo-app", "--host=0.0.0.0", "--port=9898"]

FROM program AS rouse
EXPOSE 8080 8081 9090
ENTRYPOINT ["/rouse"]
