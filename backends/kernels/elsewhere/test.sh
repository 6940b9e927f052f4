#!/bin/sh
# The tests of this crate on other machines: test.sh aarch64|wasm DIRECTORY
#
# aarch64 runs under qemu, with all that its newest processors can do; wasm runs in wasmtime, from PyPI, with simd128.
# Needs a compiler with a standard library for the machine: rustup's (`rustup target add`) or Debian's
# in /usr/bin, for which aarch64's is a package and wasm's is made here from its sources. All that is
# built goes to DIRECTORY.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
machine=$1
CARGO_TARGET_DIR=$2
export CARGO_TARGET_DIR

missing() {
	echo "missing: $1" >&2
	exit 1
}

# The first compiler that has a standard library for target $1, if any.
compiler_for() {
	for rustc in rustc /usr/bin/rustc; do
		if library=$("$rustc" --print target-libdir --target "$1" 2>/dev/null) && [ -d "$library" ]; then
			command -v "$rustc"
			return
		fi
	done
}

# The newest linker for wasm.
wasm_linker() {
	command -v wasm-ld || find /usr/lib/llvm-*/bin -name wasm-ld 2>/dev/null | sort -V | tail -1
}

aarch64() {
	target=aarch64-unknown-linux-gnu
	RUSTC=$(compiler_for $target)
	[ "$RUSTC" ] || missing "Rust's library for it (rustup target add $target; or on Debian, after dpkg --add-architecture arm64: rustc-web libstd-rust-web-dev:arm64)"
	command -v aarch64-linux-gnu-gcc >/dev/null || missing "aarch64-linux-gnu-gcc (on Debian: gcc-aarch64-linux-gnu libc6-dev-arm64-cross)"
	command -v qemu-aarch64-static >/dev/null || missing "qemu-aarch64-static (on Debian: qemu-user-static)"
	export RUSTC
	export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
	export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="timeout 900 qemu-aarch64-static -cpu max"
	# Threads hang in qemu when the C library is loaded from another place.
	export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C target-feature=+crt-static"
	test_on $target
}

wasm() {
	target=wasm32-wasip1
	venv=$CARGO_TARGET_DIR/venv
	if ! [ -x "$venv/bin/wasmtime-is-here" ]; then
		"${PYTHON:-python3}" -m venv --clear "$venv" || missing "Python 3 with venv (on Debian: python3-venv)"
		"$venv/bin/python" -m pip install --quiet wasmtime==50.0.1
		ln -s python "$venv/bin/wasmtime-is-here"
	fi
	RUSTC=$(compiler_for $target)
	flags="-C target-feature=+simd128"
	if [ "$RUSTC" ]; then
		set --
	else
		RUSTC=/usr/bin/rustc
		libc=/usr/lib/wasm32-wasi
		linker=$(wasm_linker)
		if ! [ -d /usr/lib/rustlib/src/rust/library ] || ! [ -e $libc/libc.a ] || ! [ "$linker" ]; then
			missing "Rust's library for it (rustup target add $target; or on Debian: rustc-web rust-web-src wasi-libc lld-22)"
		fi
		flags="$flags -C linker=$linker -C link-self-contained=no -L $libc -C link-arg=$libc/crt1-command.o"
		# That C library lacks the functions for threads, which are named but never called here.
		flags="$flags -C link-arg=--unresolved-symbols=ignore-all"
		# `-Z` is for nightly compilers, or for who insists.
		export RUSTC_BOOTSTRAP=1
		set -- -Z build-std=std,panic_abort,test
	fi
	export RUSTC
	export CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS="$flags"
	export CARGO_TARGET_WASM32_WASIP1_RUNNER="timeout 900 $venv/bin/python $here/run_wasi.py"
	test_on $target "$@"
}

# Builds and runs the tests for target $1, with further arguments for cargo: of this crate, and of the
# decoder the digests of real models, which `kwaainet pull` has put into the user's cache.
test_on() {
	"${CARGO:-cargo}" test --manifest-path "$here/../Cargo.toml" --lib --target "$@"
	"${CARGO:-cargo}" test --manifest-path "$here/../../decoder/Cargo.toml" --test digest --target "$@" -- --nocapture
}

case $machine in
aarch64) aarch64 ;;
wasm) wasm ;;
*) missing "a machine: aarch64 or wasm" ;;
esac
