# raft - build, test and demonstrate. `make help` lists the targets.
# ---- settings: `make CC=clang BLIS=0`, or edit here ------------------------------------------------------------------
CC      ?= cc
OPENMP  ?= auto#   0, 1 or auto: threads (auto: when a probe compiles, links and runs)
BLIS    ?= auto#   0, 1 or auto: the alternative matmul backend; chosen at run time with RAFT_MATMUL=blis or --matmul blis
MATMUL  ?= own#    own or blis: the backend a build uses when nothing is said at run time
MODE    ?= release# release, debug (-O0) or sanitize (ASan + UBSan)
CFLAGS  ?=#        added last
WERROR  ?=#        -Werror in CI
PREFIX  ?= /usr/local
DEPS    ?= 1#      0: `make demo` and `make test` never call the package manager
ISA     ?=#        for `make test`: restrict to one instruction set, as RAFT_ISA does
PYTHON  ?= python3# for `make verify` (numpy) and `make interop`

# ---- what is built ---------------------------------------------------------------------------------------------------
ifeq ($(origin CC),default)
CC := cc
endif
VARIANT := $(subst /,_,$(CC))-$(strip $(MODE))-omp$(strip $(OPENMP))-blis$(strip $(BLIS))-$(strip $(MATMUL))
BUILD   := build/$(subst $(eval) ,_,$(VARIANT))
TARGET  := $(shell $(CC) -dumpmachine 2>/dev/null)
VERSION := 0.1.0
COMMIT  := $(shell git -C $(CURDIR) describe --always --dirty 2>/dev/null || echo unknown)

OPT_release  := -O3
OPT_debug    := -O0 -g
OPT_sanitize := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
# matmul's unrolled tiles: with UBSan's checks of every access they take minutes to compile; ASan stays
TILES_sanitize := -fno-sanitize=undefined
STRICT  := -std=c11 -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -ffp-contract=off $(WERROR)
ALL_C    = $(STRICT) $(OPT_$(strip $(MODE))) -I. -MMD -MP $(CONFIG_CFLAGS) $(CFLAGS)

ISAS := plain
FLAGS_plain :=
ifneq (,$(findstring x86_64,$(TARGET)))
ISAS += avx2 avx512
FLAGS_avx2   := -mavx2 -mfma
FLAGS_avx512 := -mavx512f -mavx512dq -mavx512bw -mavx512vl -mfma -mprefer-vector-width=512
endif
ifneq (,$(findstring aarch64,$(TARGET))$(findstring arm64,$(TARGET)))
ISAS += neon
endif

PER_ISA  := $(patsubst kernels/isa/%.c,%,$(wildcard kernels/isa/*.c))
LIB_SRC  := $(filter-out main.c,$(wildcard *.c)) $(wildcard base/*.c files/*.c kernels/*.c study/*.c)
APP_SRC  := main.c $(wildcard commands/*.c)
LIB_OBJ  := $(LIB_SRC:%.c=$(BUILD)/%.o) $(foreach isa,$(ISAS),$(PER_ISA:%=$(BUILD)/kernels/isa/%-$(isa).o))
APP_OBJ  := $(APP_SRC:%.c=$(BUILD)/%.o)
TESTS    := $(patsubst tests/%.c,%,$(wildcard tests/test_*.c))
TEST_BIN := $(TESTS:%=$(BUILD)/tests/%)

IMDB_PLANS := imdb imdb-quick imdb-full imdb-top imdb-overoptimise
SECONDS ?= 60#   of `make fuzz`, for each reader
.PHONY: all help demo test fuzz page interop $(IMDB_PLANS) imdb-scratch lib install clean sanitize valgrind deps exhaustive vectors contract print-program
.DEFAULT_GOAL := all
all: raft

help:
	@echo 'make            ./raft            make demo      the whole loop on a built-in corpus, about a minute'
	@echo 'make test       all tests'
	@echo 'make imdb       RAFT beside PPO, best-of-K and SFT on SmolLM2 and the IMDB reviews, an hour   (IMDB=folder or archive,'
	@echo 'make imdb-quick the same in small, five minutes           SMOLLM2=file or folder, SEEDS=1)'
	@echo 'make imdb-full  every arm, a night                make imdb-overoptimise  long past the optimum of a weak reward'
	@echo 'make imdb-top   RAFT for two stages, then the best of 32 answers: closest to positive, fluent and varied at once'
	@echo 'make imdb-scratch   the pipeline of make demo on the reviews, from random weights'
	@echo 'make sanitize   tests under ASan and UBSan       make valgrind  tests under valgrind (slow)'
	@echo 'make exhaustive exp, log, sigmoid on every float, the soft fma on 10^9 triples (minutes)'
	@echo 'make verify     checks vectors and traces with a second implementation, in Python (PYTHON=python3, with numpy)'
	@echo 'make vectors    writes tests/vectors anew: known answers of every operation (docs/SPEC.md)'
	@echo 'make contract   the same bits on every instruction set, compiler, -O and ARM (minutes)'
	@echo 'make page       the pages in headless Chromium, on a phone, on a desk, printed (OUT=folder keeps screenshots)'
	@echo 'make fuzz       readers of files under libFuzzer (SECONDS=60 each)   make interop  exports beside transformers, llama.cpp (CKPT=)'
	@echo 'make lib        libraft.a         make install   PREFIX=$(PREFIX)      make clean'
	@echo 'Settings: CC OPENMP=0|1|auto BLIS=0|1|auto MATMUL=own|blis MODE=release|debug|sanitize CFLAGS WERROR DEPS=0'

# The probes' results; made again when the Makefile or the script changes, or after packages were installed.
ifneq (,$(filter-out help clean deps demo test sanitize valgrind $(IMDB_PLANS) imdb-scratch contract print-program,$(or $(MAKECMDGOALS),all)))
-include $(BUILD)/config.mk
endif
$(BUILD)/config.mk: tools/configure.sh Makefile
	@mkdir -p $(BUILD)
	@CC='$(CC)' CFLAGS='$(CFLAGS)' OPENMP='$(strip $(OPENMP))' BLIS='$(strip $(BLIS))' sh tools/configure.sh $@

# demo and test obtain what is missing first, then start make afresh so that the probes see it.
deps:
	@DEPS=$(strip $(DEPS)) CC='$(CC)' OPENMP=$(strip $(OPENMP)) BLIS=$(strip $(BLIS)) sh tools/deps.sh
demo: deps
	@$(MAKE) --no-print-directory raft
	./raft demo --force
# The plan of profiles/NAME.conf on SmolLM2, and the pipeline from random weights.
$(IMDB_PLANS): deps
	@$(MAKE) --no-print-directory raft
	IMDB='$(IMDB)' SMOLLM2='$(SMOLLM2)' sh tools/imdb.sh $@ $(if $(SEEDS),--seeds $(SEEDS))
imdb-scratch: deps
	@$(MAKE) --no-print-directory raft
	corpus=$$(sh data/get_imdb.sh $(if $(IMDB),'$(IMDB)')) && ./raft demo --profile imdb-scratch --corpus "$$corpus" --resume
test: deps
	@$(MAKE) --no-print-directory run-tests
contract: deps
	+@sh tests/contract.sh
print-program:
	@echo $(BUILD)/raft
sanitize: deps
	@$(MAKE) --no-print-directory run-tests MODE=sanitize
valgrind: deps
	@$(MAKE) --no-print-directory run-tests MODE=debug RUNNER='valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite' ISA=$(filter avx2,$(ISAS))

raft: $(BUILD)/raft
	@cp -f $< $@.tmp && mv -f $@.tmp $@
.PHONY: raft run-tests build-tests
$(BUILD)/raft: $(APP_OBJ) $(BUILD)/libraft.a
	$(CC) $(ALL_C) -o $@ $(APP_OBJ) $(BUILD)/libraft.a $(CONFIG_LIBS)
$(BUILD)/libraft.a: $(LIB_OBJ)
	@rm -f $@
	$(AR) rcs $@ $(LIB_OBJ)

$(BUILD)/%.o: %.c $(BUILD)/config.mk $(BUILD)/flags.txt
	@mkdir -p $(@D)
	$(CC) $(ALL_C) $(DEFS_$(notdir $*)) -c -o $@ $<
# What objects hold besides their source: all of them CFLAGS, version.o the commit and PREFIX. Written anew only when they are others.
WRITTEN_flags = $(CFLAGS)
WRITTEN_name = $(VERSION) $(COMMIT) $(PREFIX)
$(BUILD)/flags.txt $(BUILD)/name.txt: name-of-this-build
	@echo '$(WRITTEN_$(basename $(@F)))' | cmp -s - $@ || { mkdir -p $(@D); echo '$(WRITTEN_$(basename $(@F)))' > $@; }
$(BUILD)/base/version.o: $(BUILD)/name.txt
.PHONY: name-of-this-build
DEFS_version := -DRAFT_VERSION='"$(VERSION)"' -DRAFT_COMMIT='"$(COMMIT)"' -DRAFT_DATADIR='"$(PREFIX)/share/raft"'
DEFS_dispatch := $(ISAS:%=-DRAFT_HAVE_%) -DRAFT_MATMUL_DEFAULT='"$(strip $(MATMUL))"'

# kernels/isa/*.c are compiled once per instruction set.
define isa_rule
$(BUILD)/kernels/isa/%-$(1).o: kernels/isa/%.c $(BUILD)/config.mk $(BUILD)/flags.txt
	@mkdir -p $$(@D)
	$$(CC) $$(ALL_C) $$(FLAGS_$(1)) $$(if $$(filter tiles,$$*),$$(TILES_$(strip $(MODE)))) -DRAFT_ISA=$(1) -DRAFT_ISA_$(1) -c -o $$@ $$<
endef
$(foreach isa,$(ISAS),$(eval $(call isa_rule,$(isa))))

# ---- tests -------------------------------------------------------------------------------------------------------------
TOOLS   := $(BUILD)/tests/make_vectors $(BUILD)/tests/exhaustive
SUPPORT := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/support*.c))
$(TEST_BIN) $(TOOLS): $(BUILD)/tests/%: $(BUILD)/tests/%.o $(SUPPORT) $(BUILD)/libraft.a
	$(CC) $(ALL_C) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(CONFIG_LIBS) -lcmocka $(LINK_$*)
VECTORS := $(patsubst tests/%.c,$(BUILD)/tests/%.o,$(wildcard tests/vectors*.c))
$(BUILD)/tests/test_vectors $(BUILD)/tests/make_vectors: $(VECTORS)
$(BUILD)/tests/test_fuzz: $(BUILD)/tests/fuzz/readers.o
# Exported models beside transformers and llama.cpp; needs their Python packages. CKPT=folder.
interop: raft
	$(PYTHON) tests/interop.py ./raft $(CKPT)
# The HTML pages in a real browser.
page: raft
	@sh tests/page.sh ./raft $(OUT)
fuzz:
	@MAKE='$(MAKE)' sh tests/fuzz/run.sh $(SECONDS)
.SECONDARY: $(TEST_BIN:%=%.o) $(TOOLS:%=%.o) $(SUPPORT) $(VECTORS)
LINK_test_memory := -Wl,--wrap=calloc
LINK_test_state := -Wl,--wrap=rename
# All 2^32 floats through exp, log and sigmoid, 10^9 triples through the soft fma: some minutes.
exhaustive: $(BUILD)/tests/exhaustive
	$<
# A second implementation, in Python and numpy, written from docs/SPEC.md alone.
.PHONY: verify
verify: $(BUILD)/raft
	@RAFT_BINARY=$< PYTHON='$(PYTHON)' sh tests/verify_test.sh
vectors: $(BUILD)/tests/make_vectors
	$<
build-tests: $(TEST_BIN) $(TOOLS) $(BUILD)/raft
run-tests: $(TEST_BIN) $(BUILD)/raft
	@RAFT_BINARY=$(BUILD)/raft RAFT_ISA='$(ISA)' RUNNER='$(RUNNER)' sh tests/run.sh $(TEST_BIN)

# ---- library -----------------------------------------------------------------------------------------------------------
HEADERS := $(filter-out %-internal.h,$(wildcard *.h base/*.h files/*.h kernels/*.h study/*.h))
lib: $(BUILD)/libraft.a
	cp -f $< libraft.a
install: all lib
	mkdir -p $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/share/raft/data
	cp raft $(DESTDIR)$(PREFIX)/bin/
	cp libraft.a $(DESTDIR)$(PREFIX)/lib/
	for h in $(HEADERS); do mkdir -p $(DESTDIR)$(PREFIX)/include/raft/$$(dirname $$h); cp $$h $(DESTDIR)$(PREFIX)/include/raft/$$h; done
	cp -R profiles $(DESTDIR)$(PREFIX)/share/raft/
	cp data/README.md data/*.sh data/*.grammar data/*.txt data/*.jsonl $(DESTDIR)$(PREFIX)/share/raft/data/
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' -e 's|@LIBS@|$(CONFIG_LIBS) $(filter -fopenmp,$(CONFIG_CFLAGS))|' tools/raft.pc.in > $(DESTDIR)$(PREFIX)/lib/pkgconfig/raft.pc
clean:
	rm -rf build raft libraft.a

-include $(wildcard $(BUILD)/*.d $(BUILD)/*/*.d $(BUILD)/kernels/isa/*.d $(BUILD)/tests/fuzz/*.d)
