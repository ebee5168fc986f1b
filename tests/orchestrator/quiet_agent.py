"""What the scripted agents of several tests have in common: a node that has sealed nothing and has nothing to end."""


class QuietAgent:
    """Answers all that is asked beside engines and trials."""

    def stop_engine(self, lane):
        pass

    def reaches_warehouse(self):
        return True

    def pending(self):
        return []

    def forget(self, names):
        pass

    def finish(self):
        pass

    def interrupt(self):
        pass
