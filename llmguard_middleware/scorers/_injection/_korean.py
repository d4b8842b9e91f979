"""The same families in Korean, direct and indirect."""

from __future__ import annotations

from typing import Final

from ._phrase import phrases

__all__ = ["KOREAN_PHRASES"]

KOREAN_PHRASES: Final = (
    *phrases(
        "override_ko",
        1.0,
        "<kuntil> ~5 <kcontent> ~3 <kdrop>",
        "<kuserof> ~3 <krequest> ~2 <kdrop>",
        "<kearlier> ~1 <kinstr> ~5 <kfirst> ~2 <kfollow>",
        "<kearlier|kall|kyour|ksystem> ~5 <kinstr> ~4 <kdrop>",
        "<kearlier|kyour|ksystem> ~4 <krule> ~5 <kdrop>",
        "<kearlier> ~4 <instr|rule> ~4 <kdrop>",
        "<kdrop> ~6 <knew> ~2 <kinstr> ~3 <kfollow>",
        "<kearlier> ~4 <krule|kinstr> ~5 <kfree> ~6 <kanswer|ktask|kenable>",
        "<kall|kearlier> ~2 <kcontent|ktask> ~2 <kdrop> ~8 <kinstr|kanswer>",
    ),
    *phrases(
        "reveal_ko",
        1.0,
        "<ksystem> ~1 <kmsg> (?:(?!<kdefine>)[^|]){0,9}? <kshow>",
        "<kprompt> ~6 <kverbatim> ~6 <kshow>",
        "<ksystem> ~2 <kinstr> (?:(?!<kdefine>)[^|]){0,9}? <kreveal>(?!~1<knot>)",
        "<kyour> ~4 <kinstr> (?:(?!<kdefine>)[^|]){0,9}? <kreveal|kwhat>",
        "<system> ~1 <instr> (?:(?!<kdefine>)[^|]){0,9}? <kreveal>",
        "<kearlier> ~2 <kinstr> ~3 <kverbatim> ~3 <kreveal>",
    ),
    *phrases(
        "mode_ko",
        1.0,
        "<names> ~1 <kmode>",
        "<kmodes> <kmode> ~2 <kenable> ~8 <kanswer|kfree|krule|kdrop>",
        "<kjail> ~2 <kai|kmode>",
    ),
    *phrases(
        "no_limits_ko",
        1.0,
        "<kall> ~3 <krule> ~3 <kfree|kdrop> ~8 <kai|kreply|krole>",
        "<kall> ~2 <krule> ~3 <kfree|kdrop> ~8 <kmode>",
        "<krule> ~2 <kfree|kdrop> ~3 <kai>",
    ),
    *phrases("role_ko", 0.4, "<krole>", "<know>"),
    *phrases("lawless_ko", 0.6, "<krule> ~3 <kfree|kdrop>(?!.?<kif_not>)", "<krule> ~2 <knot>"),
    *phrases("anything_ko", 0.4, "<kanything> ~3 <kanswer>", "<kall> ~3 <kanswer>"),
    *phrases("refuse_ko", 0.6, "<krefuse> ~2 <knot>", "<krefuse> ~1 <kfree>"),
    *phrases("unbound_ko", 0.5, "<kunbound>"),
    *phrases("authority_ko", 0.3, "<kadmin>"),
    *phrases("opposite_ko", 0.5, "<kopposite> ~2 <kanswer|kmust|kcontent>"),
    *phrases("would_refuse_ko", 0.5, "<krefuse> ~7 <kopposite>"),
    *phrases("harm_ko", 0.4, "<kharm>"),
    *phrases("vendor_ko", 0.3, "<kvendor|vendor> ~3 <krule>"),
    *phrases(
        "drop_ko", 0.6, "<kdocument> ~1 <kinstr> ~2 <kfollow>", "<kuser> ~3 <kdrop>", "<kdocument> ~2 <kall>? <kdrop>"
    ),
    *phrases("ai_ko", 0.2, "<kai>"),
    *phrases(
        "override_ko",
        1.0,
        "<kgiven> ~3 <kinstr|krules|kcontent> ~5 <kvoid>",
        "<kearlier|kall> ~3 <kcontent|ktask> ~4 <kdrop> ~3 [|]? ~6 <kinstr|konly>",
        "<koperator> ~4 <kcontent|kinstr> ~2 <klisten> ~1 <knot>",
        "<koperator> ~4 <krules> ~6 <kvoid>",
        "<kearlier|koperator> ~3 <krules|kinstr> ~5 <kvoid>",
        "<kyour> ~2 <krules|kinstr> ~4 (?:<kvoid>|<kforce> ~1 <kfree|kno>)",
    ),
    *phrases("task_switch_ko", 0.7, "<kcurrent> ~2 <ktask> ~2 <kstop|kvoid>"),
    *phrases("new_task_ko", 0.5, "<knew> ~1 <ktask|kgoal>", "<kdocument> ~2 <kend>"),
    *phrases("only_me_ko", 0.5, "<konly> ~2 <kobey>"),
    *phrases(
        "reveal_ko",
        1.0,
        "<kfirstof> ~1 <kmsg|krequest> ~1 <kahead> ~3 <kwritten>",
        "<kgiven> ~2 <kinstr|kconfig> (?:(?!<kdefine>)[^|]){0,9}? <kreveal>(?!~1<knot>)",
        "<ksystem> ~1 <kprompt|kinstr|kmsg> ~2 <kreverse>",
        "<koperator> ~5 <khide> ~4 <kwhat>",
        "<kyour> ~1 <kconfig> ~1 <kgiven> ~5 <kreveal>",
    ),
    *phrases("directions_ko", 0.6, "<kunseen> ~2 <kfree>", "<kconfig> ~2 <kentire> ~2 <kshow>"),
    *phrases("verbatim_ko", 0.5, "<kearlier|kfirstof> ~4 <kverbatim> ~3 <kreveal|kshow>"),
    *phrases("lawless_you_ko", 0.8, "<krules> ~2 <kfree> ~2 <kas_if>", "<kyour> ~4 <krules> ~1 <kwithout_if>"),
    *phrases("untrained_ko", 0.6, "<krule> ~3 <kbefore> ~3 <kself>", "<krule> ~5 <kgiven> ~3 <kno|kfree>"),
    *phrases("guards_off_ko", 0.7, "<kguard> ~2 <kturn_off>"),
    *phrases("lawless_ko", 0.6, "<krule> ~3 <kforce> ~1 <kfree|kno>", "<kfiction> ~9 <krules> ~5 <kno|kfree>"),
    *phrases(
        "never_refuse_ko", 0.6, "<krefuse> ~5 <kno>", "<kcannot> ~5 <kword> ~6 <kno>", "<kcannot> ~3 <kword> ~1 <kno>"
    ),
    *phrases("answers_all_ko", 0.4, "<kanyask> ~5 <kanswer|kobey>"),
    *phrases("no_excuses_ko", 0.4, "<kplain> ~4 <kno>"),
    *phrases("stays_ko", 0.4, "<kback> ~2 <knot|kno>", "<kuntil_i>"),
    *phrases("no_ai_ko", 0.5, "<kai|ai> ~2 <kisnot>", "<kai|ai> ~2 <khide>"),
    *phrases("detail_ko", 0.2, "<kdetail>"),
    *phrases("two_answers_ko", 0.6, "<ktwo> ~1 <kways> ~2 <kanswer>"),
    *phrases("tokens_ko", 0.4, "<kcoins> ~9 <klose>", "<klose> ~4 <kcoins>"),
    *phrases("granny_ko", 0.6, "<klate> ~1 <kgranny>", "<kgranny> ~8 <kused_to>"),
    *phrases("authority_ko", 0.4, "<kengineer>"),
    *phrases("mode_ko", 0.6, "<kmodes> <kmode>"),
    *phrases("unwatched_ko", 0.5, "<kunwatched> ~2 <knot>"),
    *phrases("name_ko", 0.2, "<kname>"),
    *phrases(
        "reader_ko",
        0.7,
        "<kread> ~1 <kai|ai>(?!~2<kdefine>)",
        "<kai|ai> ~1 <kto> ~2 [:]",
        "<kauto> ~1 <kreviewer> ~2 <kreviewer>?",
    ),
    *phrases("order_ko", 0.4, "<kai|ai|kreviewer> ~12 (?:<korder>|<kmal> <kgeot>)", "<kreviewer|kai> ~8 <krecommend>"),
    *phrases("unasked_ko", 0.5, "<kconsent> ~2 <kunasked>", "<kuser> ~2 <khide>"),
    *phrases("real_request_ko", 0.6, "<kuserof> ~1 <kreally> ~1 <krequest>"),
)
