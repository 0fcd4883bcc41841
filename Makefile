# A thin face over Meson and the scripts; everything here can be called directly too.
.PHONY: all check fuzz unit check-asan check-tsan e2e lint format quickstart bench tags clean

all:
	@[ -f build/build.ninja ] || meson setup build
	ninja -C build

check:
	scripts/check

fuzz:
	scripts/check --fuzz $(S)

unit: all
	meson test -C build --print-errorlogs

check-asan:
	@[ -f build-asan/build.ninja ] || CC=clang meson setup build-asan -Db_sanitize=address,undefined -Db_lundef=false
	meson test -C build-asan --print-errorlogs

check-tsan:
	@[ -f build-tsan/build.ninja ] || CC=clang meson setup build-tsan -Db_sanitize=thread -Db_lundef=false
	meson test -C build-tsan --print-errorlogs

# One file: make e2e T=test_exec
e2e: all
	scripts/run-e2e $(if $(T),tests/e2e/$(T).py)

lint:
	tools/check-style
	tools/check-layers
	tools/check-headers

format:
	git ls-files '*.c' '*.h' | xargs clang-format -i

quickstart:
	scripts/quickstart

bench:
	bench/run
	bench/remote

tags:
	git ls-files '*.c' '*.h' | ctags -L -

clean:
	rm -rf build build-asan build-tsan build-check build-check-clang build-check-asan build-check-fuzz
