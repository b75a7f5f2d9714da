# Everything a user or a developer of Kalsae does, by name. `make help` lists it.
PREFIX ?= /usr/local
DEMO := runs/demo
# Steps of the demo: about two minutes on two cores.
DEMO_STEPS ?= 1000
KALSAE := .build/release/kalsae
PACKAGES := libdnnl-dev libpng-dev libturbojpeg0-dev zlib1g-dev pkg-config
DATA_PACKAGE := dataset-fashion-mnist
# What --version names; see Package.swift.
export KALSAE_COMMIT := $(shell git describe --always --exclude='*' --abbrev=12 --dirty=+ 2>/dev/null)
# A hung backtracer must not hold up a test run.
export SWIFT_BACKTRACE ?= enable=no

.PHONY: help setup build demo test format lint install uninstall clean

help:
	@echo 'make setup             install the Debian packages that are missing'
	@echo 'make build             build the command-line tool in release mode'
	@echo 'make demo              train on 60,000 pictures for two minutes, then draw new ones'
	@echo 'make test              run every test'
	@echo 'make install PREFIX=P  install the tool, completions and the manual page (default $(PREFIX))'
	@echo 'make uninstall         remove what install put in place'
	@echo 'make format, make lint swift format, in place or as a check'
	@echo 'make clean             remove build products; runs/ stays'

# Installs what is missing, with sudo when not root, and does nothing else.
setup:
	@missing=''; \
	for p in $(PACKAGES) $(DATA_PACKAGE); do \
	  dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'install ok installed' || missing="$$missing $$p"; \
	done; \
	[ -z "$$missing" ] && exit 0; \
	command -v apt-get >/dev/null || { echo "missing:$$missing; install them with your package manager" >&2; exit 1; }; \
	sudo=''; \
	if [ "$$(id -u)" != 0 ]; then \
	  command -v sudo >/dev/null || { echo "missing:$$missing; run as root: apt-get install$$missing" >&2; exit 1; }; \
	  sudo=sudo; \
	fi; \
	echo "installing$$missing"; \
	$$sudo apt-get update -qq; \
	export DEBIAN_FRONTEND=noninteractive; \
	needed=$$(echo "$$missing" | sed 's/$(DATA_PACKAGE)//'); \
	[ -z "$$(echo $$needed)" ] || $$sudo apt-get install -y -qq --no-install-recommends $$needed || exit 1; \
	case "$$missing" in *$(DATA_PACKAGE)*) \
	  $$sudo apt-get install -y -qq --no-install-recommends $(DATA_PACKAGE) \
	    || echo 'no $(DATA_PACKAGE) here: the demo will draw its own pictures (--data shapes)' >&2;; \
	esac

build: setup
	swift build -c release --product kalsae

demo: build
	@rm -rf $(DEMO)
	@data=fashion-mnist; \
	[ -d /usr/share/datasets/fashion-mnist ] || data=shapes; \
	$(KALSAE) train ddpm --data $$data --config Examples/demo.json --steps $(DEMO_STEPS) --output $(DEMO)
	@$(KALSAE) sample $(DEMO) -o $(DEMO)/samples.png --count 64 --steps 50 --sampler ddim \
	  --trajectory $(DEMO)/trajectory.png
	@$(KALSAE) sample $(DEMO) -o $(DEMO)/samples.npz --count 64 --steps 50 --sampler ddim --quiet
	@echo
	@echo 'Written:'
	@echo '  $(DEMO)/samples.png      64 pictures that no one has drawn before'
	@echo '  $(DEMO)/trajectory.png   noise turning into pictures'
	@echo '  $(DEMO)/samples.npz      the same pictures as numbers (arr_0, uint8)'
	@echo 'Next:'
	@echo '  train on for better ones:  $(KALSAE) train ddpm -o $(DEMO) --resume --steps 10000'
	@echo '  look inside:               $(KALSAE) inspect $(DEMO)'
	@echo '  give it to Python:         $(KALSAE) export $(DEMO) -o runs/demo-model'
	@echo '  your own pictures:         $(KALSAE) train ddpm --data FOLDER --image-size 32 -o runs/mine'

test: setup
	swift build -c release --build-tests
	swift test -c release --skip-build --no-parallel

format:
	swift format format --in-place --recursive Sources Tests Examples Package.swift

lint:
	swift format lint --strict --recursive Sources Tests Examples Package.swift

install: build
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 \
	  $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions \
	  $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	install -m 755 $(KALSAE) $(DESTDIR)$(PREFIX)/bin/kalsae
	install -m 644 Documentation/kalsae.1 $(DESTDIR)$(PREFIX)/share/man/man1/kalsae.1
	$(KALSAE) --generate-completion-script bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/kalsae
	$(KALSAE) --generate-completion-script zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_kalsae
	$(KALSAE) --generate-completion-script fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/kalsae.fish

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/kalsae $(DESTDIR)$(PREFIX)/share/man/man1/kalsae.1 \
	  $(DESTDIR)$(PREFIX)/share/bash-completion/completions/kalsae \
	  $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_kalsae \
	  $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/kalsae.fish

clean:
	rm -rf .build
