"""IPixels: what is known of an image's numbers."""

from ..queries import run
from .rendering import description

_SETTINGS = (
    "select o from RenderingDef o join fetch o.model join fetch o.details.owner join fetch o.pixels"
    " left outer join fetch o.waveRendering w left outer join fetch w.family where o.pixels.id = :id"
)


class PixelsService:
    """Answers with whole objects."""

    def retrievePixDescription(self, call, pixels_id):
        """Return Pixels with its channels."""
        return description(call, pixels_id)

    def retrieveAllRndSettings(self, call, pixels_id, user_id):
        """Return the rendering settings of an image, of one user, or of all for -1."""
        rows = run(call, _SETTINGS, {"id": pixels_id}, context=call.context_for_all())
        settings = [row[0] for row in rows]
        for each in settings:
            each._waveRenderingSeq.sort(key=lambda binding: binding.id.val)
            for binding in each._waveRenderingSeq:
                binding._spatialDomainEnhancementLoaded = True  # and there is none
        return [each for each in settings if user_id < 0 or each.details.owner.id.val == user_id]
