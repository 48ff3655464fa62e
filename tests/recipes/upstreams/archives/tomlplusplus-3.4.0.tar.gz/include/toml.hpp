#define TOML 1
