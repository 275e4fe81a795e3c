pytest_plugins = ["pytest_redkeep"]
